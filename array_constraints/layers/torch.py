"""Modules of PyTorch: the names of their parameters, and what a unit of each layer is."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import parametrize

from array_constraints.layers.weight import MADE, Role, Weight, tied

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "AveragedModel": "module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
}
"""Modules around a user's, which no name speaks of: ``torch.compile`` makes the first."""

_GROUPED = (
    "output channels of different groups of a grouped transposed convolution lie in one column "
    "of its weight, so that no axis runs along the weights of one: use groups=1, or constrain "
    "its view (groups, in / groups, out / groups, *kernel) along axis (1, 3, ...)"
)


def weights_of(model: nn.Module) -> list[Weight]:
    """Return the parameters of a module, each once, with all of its names.

    Raises
    ------
    TypeError
        If a module keeps its parameters flat, in parts that have no shape.
    """
    found: dict[int, Weight] = {}
    for prefix, module, kind in _modules(model, "", None, ()):
        for weight in _own(module, prefix, kind):
            known = found.get(id(weight.array))
            found[id(weight.array)] = weight if known is None else tied(known, weight)
    return list(found.values())


def _modules(
    module: nn.Module, prefix: str, kind: str | None, above: tuple[int, ...]
) -> Iterator[tuple[str, nn.Module, str | None]]:
    """Yield each module with the prefix of its names, and the kind of a layer around it."""
    inner = _WRAPPERS.get(type(module).__name__)
    if inner is not None and hasattr(module, inner):
        yield from _modules(getattr(module, inner), prefix, kind, above)
        return
    if type(module).__name__ == "FullyShardedDataParallel":
        raise TypeError(
            f"{prefix or 'the model'}: FullyShardedDataParallel keeps parts of parameters "
            "without their shapes: shard with torch.distributed.fsdp.fully_shard"
        )
    yield prefix, module, kind
    if isinstance(module, nn.MultiheadAttention):
        kind = "attention"
    for name, child in module._modules.items():
        if child is not None and id(child) not in above and name != "parametrizations":
            yield from _modules(child, f"{prefix}{name}.", kind, (*above, id(module)))


def _own(module: nn.Module, prefix: str, kind: str | None) -> Iterator[Weight]:
    """Yield the parameters of one module, and those that it makes of others."""
    made_by = _made_by_hooks(module)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            role, made = role_in(module, name, kind), name.rpartition("_")[0]
            refused = MADE.format(made_by[made]) if made in made_by else ""
            yield Weight(prefix + name, parameter, role, refused=refused)
    if not parametrize.is_parametrized(module):
        return
    for name, made in module.parametrizations.items():
        originals = [p for p in made.parameters(recurse=False) if p is not None]
        maps = ", ".join(type(step).__name__ for step in made)
        yield Weight(
            prefix + name,
            max(originals, key=torch.Tensor.numel, default=None),
            role_in(module, name, kind),
            refused=f"it is made by a parametrization, {maps}, from other parameters: what is "
            "written into it would be lost; exclude it, or remove the parametrization",
        )


def _made_by_hooks(module: nn.Module) -> dict[str, str]:
    """Return what makes a weight of others before each call, by its name.

    As ``torch.nn.utils.weight_norm``, ``spectral_norm`` and ``prune`` do: of ``weight_g`` and
    ``weight_v``, or ``weight_orig``.
    """
    found = {}
    for hook in module._forward_pre_hooks.values():
        name = getattr(hook, "name", getattr(hook, "_tensor_name", None))
        if type(hook).__module__.startswith("torch.nn.utils.") and isinstance(name, str):
            found[name] = type(hook).__name__
    return found


def role_in(module: nn.Module, name: str, kind: str | None = None) -> Role:
    """Return the role of a parameter of that name; ``kind`` is that of a layer around it."""
    layer = type(module).__name__.removeprefix("Parametrized")
    if isinstance(module, _NORMS):
        return Role.without_units(layer, "norm")
    if name.startswith("bias") or name.endswith("bias"):
        return Role.without_units(layer, "bias")
    if isinstance(module, nn.Linear):
        return Role(layer, kind or "dense", (1,))
    if isinstance(module, nn.Bilinear):
        return Role(layer, "dense", (1, 2))
    if isinstance(module, nn.modules.conv._ConvNd):
        return Role(layer, "conv", _of_convolution(module))
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return Role(layer, "embedding", (1,))
    if isinstance(module, _RECURRENT):
        return Role(layer, "recurrent", (1,))
    if isinstance(module, nn.MultiheadAttention):
        return Role(layer, "attention", (1,))
    if isinstance(module, nn.PReLU):
        return Role.without_units(layer, "other")
    if layer == "Conv1D" and type(module).__module__.startswith("transformers."):
        return Role("transformers' Conv1D", "dense", (0,))
    return Role.unknown(layer)


def _of_convolution(module: nn.modules.conv._ConvNd) -> tuple[int, ...] | str:
    kernel = tuple(range(2, 2 + len(module.kernel_size)))
    if not module.transposed:
        return (1, *kernel)
    return (0, *kernel) if module.groups == 1 else _GROUPED
