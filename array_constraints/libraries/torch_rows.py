"""Slices of PyTorch tensors that are rows, as those of its layers: their sums in float64."""

from __future__ import annotations

import math
from typing import Any

import torch

LONGEST = 2**16  # entries: 512 KiB in float64, which stay in the caches
_SMALL = 2**15  # entries of a block of which no memory is spared


def are_rows(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether slices are rows: their entries lie side by side, and are not too many."""
    kept = x.ndim - len(axes)
    if not axes or axes[0] != kept or not x.is_contiguous():
        return False
    return bool(math.prod(x.shape[kept:]) <= LONGEST)


def parts(x: Any, axes: tuple[int, ...], spared: bool) -> list[Any]:
    """Return the rows in parts that stay in the caches when they are widened.

    What is made of one is twice the bytes of the block at most; where memory is spared, half
    of those of a block that is not small.
    """
    entries = x.numel()
    step = max(x.nbytes // 16, 2**13) if spared and entries > _SMALL else x.nbytes // 4
    rows = x.reshape(math.prod(x.shape[: x.ndim - len(axes)]), -1)
    step = min(step, LONGEST)
    return [rows] if entries <= step else list(rows.split(max(1, step // rows.shape[1])))


def sums(x: Any, axes: tuple[int, ...], power: int, spared: bool) -> Any:
    """Return the sums of powers, dimensions kept."""
    if x.numel() <= _SMALL:  # one part
        return _powers(x, power).sum(axes, True)
    kept = (*x.shape[: x.ndim - len(axes)], *[1] * len(axes))
    return sums_of_parts(parts(x, axes, spared), power).reshape(kept)


def sums_of_parts(parts: list[Any], power: int) -> Any:
    """Return the sums of powers of all rows in one tensor of one dimension."""
    if len(parts) == 1:
        return _powers(parts[0], power).sum(1)
    lengths = [part.shape[0] for part in parts]
    found = torch.empty(sum(lengths), dtype=torch.float64)
    for part, place in zip(parts, found.split(lengths), strict=True):
        torch.sum(_powers(part, power), 1, out=place)
    return found


def _powers(x: Any, power: int) -> Any:
    terms = x.to(torch.float64, copy=True)
    return terms.mul_(terms) if power == 2 else terms.abs_()
