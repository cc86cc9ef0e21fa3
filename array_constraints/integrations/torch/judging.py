"""What is asked of parameters of PyTorch before they are constrained."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.optim import Optimizer

from array_constraints.rules import Selection


def is_lazy(parameter: Any) -> bool:
    """Whether a parameter has no shape yet."""
    return isinstance(parameter, torch.nn.parameter.UninitializedTensorMixin)


def judged(selections: list[Selection]) -> list[Selection]:
    """Return the selections, or raise what one of them would."""
    with torch.no_grad():
        for selection in selections:
            selection.judge(selection.weight.array, copy=False)
    return selections


def refuse_local_shards(chosen: list[Selection], optimizers: list[Optimizer]) -> None:
    """Raise where a plain tensor is the part of a sharded one that this process holds."""
    distributed = sys.modules.get("torch.distributed.tensor")
    if distributed is None:
        return
    sharded = [p for p in _parameters(optimizers) if isinstance(p, distributed.DTensor)]
    memories = {p.to_local().untyped_storage().data_ptr() for p in sharded} - {0}
    for selection in chosen:
        array = selection.weight.array
        if isinstance(array, distributed.DTensor):
            continue
        if array.untyped_storage().data_ptr() in memories:
            raise ValueError(
                f"{selection.weight.name!r} is the local shard of a DTensor: its slices may be "
                "parts of longer ones, whose norms it does not know; pass the DTensor"
            )


def refuse_other_tensors(chosen: list[Selection], optimizers: list[Optimizer]) -> None:
    """Raise for what is no parameter of the optimizers, and shares the memory of one."""
    parameters = _parameters(optimizers)
    known = {id(p) for p in parameters}
    plain = [p for p in parameters if type(p) in (torch.Tensor, torch.nn.Parameter)]
    memories = {p.data_ptr() for p in plain if not is_lazy(p)} - {0}
    for selection in chosen:
        array = selection.weight.array
        other = id(array) not in known and type(array) is torch.Tensor
        if other and array.data_ptr() in memories:
            raise ValueError(
                f"{selection.weight.name!r} is another tensor than the optimizer's, in the "
                "same memory: pass the model, or its parameters, instead of a state_dict"
            )


def require_in_optimizers(chosen: list[Selection], optimizers: list[Optimizer]) -> None:
    """Raise where a parameter is trained by no optimizer that is known."""
    known = {id(p) for p in _parameters(optimizers)}
    missing = [s for s in chosen if s.weight.array.requires_grad]
    missing = [s for s in missing if id(s.weight.array) not in known]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{missing[0].weight.name!r}{more}: selected and trained, but in none of the "
            "optimizers that were passed, after whose steps it would be constrained: pass all "
            "optimizers of the model, or exclude it"
        )


def _parameters(optimizers: list[Optimizer]) -> list[Any]:
    """Return all parameters that optimizers move."""
    return [p for o in optimizers for group in o.param_groups for p in group["params"]]
