"""All that PyTorch needs beyond the standard, but for tensors at hand in memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, cast

from array_constraints.numerics import subnormals, sums
from array_constraints.numerics.sums import Term, pairwise_sum, plain_sum
from array_constraints.typing import Array, Namespace


def negative(w: Any, xp: Any) -> Any:
    """Return which entries are below zero; from their bits where subnormal ones look like 0."""
    if subnormals.flushed() and w.dtype.is_floating_point:
        return subnormals.negative(subnormals.torch_bits(w), xp.isnan(w))
    return w < 0


def clamped(w: Any, xp: Any) -> Any:
    """Clamp: torch.where takes six times as long; but it changes the NaN of half types."""
    half = w.dtype.is_floating_point and w.dtype.itemsize == 2
    if half or subnormals.flushed():
        return xp.where(negative(w, xp), xp.zeros_like(w), w)
    return w.clamp(min=0)


def refused(w: Any) -> str | None:
    """Return what kind of tensor ``w`` is, if not a dense one with values, and what to pass."""
    import torch

    plain = type(w) is torch.Tensor or type(w) is torch.nn.Parameter
    kind = None if plain else _other_kind(w)
    if kind is not None:
        return kind
    if w.is_nested:
        return "that is nested: pass the tensors of w.unbind()"
    return None if w.layout is torch.strided else f"of layout {w.layout}: make it dense first"


def _other_kind(w: Any) -> str | None:
    import torch

    if isinstance(w, torch.nn.parameter.UninitializedTensorMixin):
        return "without a shape yet: call its module once first"
    if isinstance(w, torch.masked.MaskedTensor):
        return "with operators of its own: pass w.to_tensor(value), masked entries filled"
    bias = sys.modules.get("torch.nn.attention.bias")
    if bias is not None and isinstance(w, bias.CausalBias):
        return "without values: pass a tensor that has them"
    return None


def run(function: Callable[..., Array], form: object, w: Any, xp: Namespace) -> Any:
    """Run a function of a form; what has the shape of a DTensor is sharded as it is."""
    result: Any = function(form, w, xp)
    if (
        not _is_sharded(w)
        or result.shape != w.shape
        or any(p.is_partial() for p in w.placements)
    ):
        return result
    return result.redistribute(placements=w.placements)


def beside(tensor: Any, like: Any) -> Any:
    """Return a constant to compute with ``like``: with a DTensor, one that every rank has."""
    if not _is_sharded(like):
        return tensor
    from torch.distributed.tensor import DTensor, Replicate

    mesh = like.device_mesh
    known = DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return (
        known.redistribute(placements=like.placements) if known.shape == like.shape else known
    )


def _placed(x: Any, like: Any) -> Any:
    """Return ``x`` in shards like those of ``like``, where it has its shape."""
    pending = any(p.is_partial() for p in like.placements)
    return x if pending or x.shape != like.shape else x.redistribute(placements=like.placements)


def library_sum(x: Any, scale: Any, axes: tuple[int, ...], xp: Namespace, term: Term) -> Any:
    """Sum in the order that PyTorch chooses; ranks add up their sums once, not at each use."""
    total = plain_sum(x, scale, axes, xp, term)
    return _without_pending_sums(total) if _is_sharded(total) else total


def tree_sum(x: Any, scale: Any, axes: tuple[int, ...], xp: Namespace, term: Term) -> Array:
    """Sum pairwise; of shards, those of each rank, then their sums."""
    if not _is_sharded(x):
        return pairwise_sum(x, scale, axes, xp, term)
    x = _without_pending_sums(x)
    if scale is not None:
        scale = scale.redistribute(placements=_reduced_placements(x, axes)).to_local()
    local = pairwise_sum(x.to_local(), scale, axes, xp, term)
    return cast(
        Array, _merged_shards(local, x, axes, lambda y, axes: pairwise_sum(y, None, axes, xp))
    )


def peak(x: Any, axes: tuple[int, ...], xp: Namespace) -> Array:
    """Return the largest magnitude of each slice; a rank may hold no entry of it."""
    if not _is_sharded(x):
        return sums.peak(x, axes, xp)
    x = _without_pending_sums(x)
    local = sums.peak(x.to_local(), axes, xp)
    return cast(Array, _merged_shards(local, x, axes, lambda y, axes: sums.peak(y, axes, xp)))


def _is_sharded(x: Any) -> bool:
    """Whether ``x`` is a DTensor: one tensor, of which each process holds a part."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def _without_pending_sums(x: Any) -> Any:
    from torch.distributed.tensor import Replicate

    return x.redistribute(
        placements=[Replicate() if p.is_partial() else p for p in x.placements]
    )


def _reduced_placements(x: Any, axes: tuple[int, ...]) -> list[Any]:
    from torch.distributed.tensor import Replicate

    return [Replicate() if getattr(p, "dim", None) in axes else p for p in x.placements]


def _merged_shards(
    local: Any, x: Any, axes: tuple[int, ...], reduce: Callable[[Any, tuple[int, ...]], Any]
) -> Any:
    """Gather what each rank made of its slices along ``axes`` of ``x``, and reduce that."""
    from torch.distributed.tensor import Shard

    mesh, after = x.device_mesh, _reduced_placements(x, axes)
    shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
    before = [
        p if p == kept else Shard(axes[0]) for p, kept in zip(x.placements, after, strict=True)
    ]
    if before != after:
        ranks = [mesh.size(i) for i, p in enumerate(before) if p != after[i]]
        parts = list(shape)
        parts[axes[0]] = math.prod(ranks)
        gathered = _from_local(local, mesh, before, parts).redistribute(placements=after)
        local = reduce(gathered.to_local(), (axes[0],))
    return _from_local(local, mesh, after, shape)


def _from_local(local: Any, mesh: Any, placements: list[Any], shape: list[int]) -> Any:
    import torch
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        local,
        mesh,
        placements,
        run_check=False,
        shape=torch.Size(shape),
        stride=torch.empty(shape, device="meta").stride(),
    )
