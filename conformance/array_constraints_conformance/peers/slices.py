"""What the adapters share: projections of one slice, or of rows, for slices along any axis."""

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
