"""Sharded tensors of PyTorch: one DTensor, of which each process holds a part."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, cast

import torch

from array_constraints.numerics.sums import Term, largest_magnitude, pairwise_sum
from array_constraints.typing import Array, Namespace


def is_sharded(x: Any) -> bool:
    """Whether ``x`` is a DTensor: one tensor, of which each process holds a part."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def placed(result: Any, w: Any) -> Any:
    """Return a result sharded as ``w`` is, where that is a DTensor of its shape.

    What is pending in ``w`` is added up in the result: it lies on each rank.
    """
    if not is_sharded(w) or result.shape != w.shape:
        return result
    return result.redistribute(placements=_placements_without_pending_sums(w))


def beside(tensor: Any, like: Any) -> Any:
    """Return a constant to compute with ``like``: with a DTensor, one that every rank has."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import DTensor, Replicate

    mesh = like.device_mesh
    known = DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return (
        known.redistribute(placements=like.placements) if known.shape == like.shape else known
    )


def tree_sum(x: Any, scale: Any, axes: tuple[int, ...], xp: Namespace, term: Term) -> Array:
    """Sum pairwise the shards of each rank, then their sums."""
    x = without_pending_sums(x)
    if scale is not None:
        scale = scale.redistribute(placements=_reduced_placements(x, axes))
        scale = scale.to_local() if _takes_part(x) else None
    local = pairwise_sum(_held(x), scale, axes, xp, term)
    return cast(
        Array, _merged_shards(local, x, axes, lambda y, axes: pairwise_sum(y, None, axes, xp))
    )


def largest(x: Any, axes: tuple[int, ...], xp: Namespace) -> Array:
    """Return the largest magnitude of each slice; a rank may hold no entry of it."""
    x = without_pending_sums(x)
    local = largest_magnitude(_held(x), axes, xp)
    return cast(
        Array,
        _merged_shards(local, x, axes, lambda y, axes: largest_magnitude(y, axes, xp)),
    )


def without_pending_sums(x: Any) -> Any:
    """Return a DTensor whose ranks have added up what each of them holds a share of."""
    return x.redistribute(placements=_placements_without_pending_sums(x))


def with_whole_slices(x: Any, axes: tuple[int, ...]) -> Any:
    """Return a tensor with its slices along ``axes`` whole on each rank: they are gathered."""
    if not is_sharded(x):
        return x
    x = without_pending_sums(x)
    return x.redistribute(placements=_reduced_placements(x, axes))


def _placements_without_pending_sums(x: Any) -> list[Any]:
    from torch.distributed.tensor import Replicate

    return [Replicate() if p.is_partial() else p for p in x.placements]


def _held(x: Any) -> Any:
    """Return the entries that this process holds, in all dimensions.

    A process outside of the mesh holds none, in one dimension: it would raise alone.
    """
    local = x.to_local()
    return local if _takes_part(x) else local.reshape((0,) * x.ndim)


def _takes_part(x: Any) -> bool:
    """Whether this process belongs to the mesh of ``x``."""
    return x.device_mesh.get_coordinate() is not None


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
        local = reduce(_held(gathered), (axes[0],))
    return _from_local(local, mesh, after, shape)


def _from_local(local: Any, mesh: Any, placements: list[Any], shape: list[int]) -> Any:
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        local,
        mesh,
        placements,
        run_check=False,
        shape=torch.Size(shape),
        stride=torch.empty(shape, device="meta").stride(),
    )
