"""Adapters of projections of one slice, or of rows, to constraints along any axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Axis = int | tuple[int, ...] | list[int] | None


def sliced(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the dimensions that a slice runs along, in the order of the array."""
    axes = range(ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    return tuple(sorted(range(ndim)[i] for i in axes))


def project_rows(
    w: Any, axis: Axis, permute: Callable[[Any, Any], Any], project: Callable[[Any], Any]
) -> Any:
    """Return ``w`` with its slices, the rows of a matrix, replaced by those of ``project``.

    Dimensions are moved, nothing is computed: a peer sees the entries as they are.
    """
    axes = sliced(axis, w.ndim)
    kept = tuple(i for i in range(w.ndim) if i not in axes)
    order = kept + axes
    moved = permute(w, order)
    length = math.prod([w.shape[i] for i in axes])  # lists: Dynamo traces no generators
    count = math.prod([w.shape[i] for i in kept])
    rows = project(moved.reshape((count, length)))
    back = [order.index(i) for i in range(w.ndim)]
    return permute(rows.reshape(moved.shape), back)


def constraints_of(
    ball: Callable[[Any, float], Any],
    sphere: Callable[[Any], Any],
    orthant: Callable[[Any], Any],
    *,
    vmap: Callable[[Callable[[Any], Any]], Callable[[Any], Any]],
    permute: Callable[[Any, Any], Any],
) -> tuple[type, type, type]:
    """Return ``MaxNorm``, ``UnitNorm`` and ``NonNeg`` of a peer that projects one vector.

    ``ball`` takes the vector and a radius, ``sphere`` the vector; ``orthant`` takes any weight.
    """

    class MaxNorm:
        """The peer's projection of each slice onto a ball."""

        def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
            self.max_value, self.axis = max_value, axis

        def __call__(self, w: Any) -> Any:
            project = vmap(lambda row: ball(row, self.max_value))
            return project_rows(w, self.axis, permute, project)

    class UnitNorm:
        """The peer's projection of each slice onto the unit sphere."""

        def __init__(self, axis: Axis = 0) -> None:
            self.axis = axis

        def __call__(self, w: Any) -> Any:
            return project_rows(w, self.axis, permute, vmap(sphere))

    class NonNeg:
        """The peer's projection of each entry onto the numbers that are not negative."""

        def __call__(self, w: Any) -> Any:
            return orthant(w)

    return MaxNorm, UnitNorm, NonNeg
