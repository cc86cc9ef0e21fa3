"""Axes: the dimensions of an array that a slice runs along."""

from __future__ import annotations

Axis = int | tuple[int, ...] | list[int] | None


def rank(axis: Axis) -> int:
    """Return how many dimensions an array needs to have this axis, and at least one."""
    axes = () if axis is None else (axis,) if isinstance(axis, int) else axis
    return max((i + 1 if i >= 0 else -i for i in axes), default=1)


def normalized(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the dimensions of an axis in ascending order, none of them negative."""
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(sorted({i % ndim for i in axes})) if ndim else ()
