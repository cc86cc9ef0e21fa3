"""Adapters of projections of one slice, or of rows, to constraints along any axis."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

Axis = int | tuple[int, ...] | list[int] | None


class OfRows(ABC):
    """A constraint along ``axis`` of a peer that projects the rows of a matrix."""

    axis: Axis

    @staticmethod
    @abstractmethod
    def permute(w: Any, order: Any) -> Any:
        """Return ``w`` with its dimensions in another order."""

    @abstractmethod
    def rows(self, rows: Any) -> Any:
        """Return the peer's result for each row, a slice."""

    def __call__(self, w: Any) -> Any:
        return project_rows(w, self.axis, self.permute, self.rows)


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
