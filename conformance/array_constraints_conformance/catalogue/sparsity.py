"""Sparsity: of each slice, or group of consecutive entries, few are other than zero."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from array_constraints_conformance.catalogue.exact import ExactRule, cycled, kept_derivative
from array_constraints_conformance.catalogue.kinds import Kind
from array_constraints_conformance.catalogue.rule import KnownRule
from array_constraints_conformance.numerics.axes import Axis, normalized
from array_constraints_conformance.numerics.exact import Slices, arranged
from array_constraints_conformance.numerics.formats import Format


@dataclass(frozen=True)
class LargestRule(ExactRule):
    """Of each slice, the largest magnitudes are kept, the first of equal ones."""

    uniform: ClassVar[bool] = False

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "further sets"}
        found |= {"idempotent maps", "projections", "sets with an interior", "exact sets"}
        return frozenset(found | {"sets that keep signs", "even sets"})

    @abstractmethod
    def _most(self, length: int) -> int:
        """Return how many entries of a slice of that length may be other than zero."""

    def _kept(self, rows: np.ndarray) -> np.ndarray:
        """Return which entries of each slice are kept: the largest, the first of a tie."""
        size = np.abs(rows.astype(np.float64))
        order = np.argsort(-size, axis=1, kind="stable")
        rank = np.argsort(order, axis=1, kind="stable")
        dropped = (rank >= self._most(rows.shape[1])) & (size != 0)
        return ~dropped | np.isnan(size).any(axis=1, keepdims=True)

    def image(self, array: np.ndarray) -> np.ndarray:
        rows = self.slices(array).rows
        kept = np.where(self._kept(rows), rows, rows.dtype.type(0)).astype(array.dtype)
        return self.arranged(kept, array.shape)

    def kinds(self, fmt: Format) -> list[Kind]:
        near = 1 + 2 * float(fmt.u)
        groups = (
            [1.0, 1.0, 1.0, 1.0],
            [1.0, -1.0, 1.0, -1.0, -1.0],
            [3.0, 0.0, -2.0, -0.0],
            [0.0, -0.0, -5.0, 0.0],
            [1.0, near, 1.0, near, -near],
            [0.1, 0.2, 0.3, 0.4],
            [4.0, 3.0, -2.0, 1.0],
            [math.inf, 1.0, -math.inf, math.inf, 2.0],
            [math.nan, 4.0, 3.0, 2.0, 1.0],
            [fmt.largest, -fmt.largest, fmt.largest, 1.0],
            [fmt.smallest, -fmt.smallest * 0.5, fmt.smallest * 0.5, fmt.smallest],
        )
        return [*super().kinds(fmt), *(cycled(np.asarray(row), 0) for row in groups)]

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        return kept_derivative(self.arranged(self._kept(self.slices(w).rows), w.shape))


@dataclass(frozen=True)
class GroupRule(LargestRule):
    """Of each ``m`` consecutive entries, ``n`` may be other than zero: a slice is a group."""

    n: int = 2
    m: int = 4

    layouts: ClassVar[tuple[str, ...]] = ("long slices",)
    wide: ClassVar[tuple[tuple[tuple[int, ...], int], ...]] = (((12, 2732), 1), ((344, 96), 0))

    @property
    def traits(self) -> frozenset[str]:
        return super().traits | {"sets of integers"}

    def _most(self, length: int) -> int:
        return self.n

    def axes(self, ndim: int) -> tuple[int, ...]:
        return (self.axis % ndim,) if isinstance(self.axis, int) and ndim else ()

    def along(self, axis: Axis) -> Self:
        return replace(self, axis=axis, arguments={**self.arguments, "axis": axis})

    def suits(self, shape: tuple[int, ...]) -> bool:
        fits = isinstance(self.axis, int) and -len(shape) <= self.axis < len(shape)
        return fits and shape[self.axis] % self.m == 0  # type: ignore[index]

    def _grouped(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """Return the shape with a dimension of groups before that of their entries."""
        (axis,) = self.axes(len(shape))
        return (*shape[:axis], shape[axis] // self.m, self.m, *shape[axis + 1 :]), axis + 1

    def slices(self, array: np.ndarray) -> Slices:
        shape, axis = self._grouped(array.shape)
        found = Slices(array.reshape(shape), (axis,))
        found.array = array
        return found

    def arranged(self, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        grouped, axis = self._grouped(shape)
        return arranged(rows, grouped, (axis,)).reshape(shape)

    def away(self, array: np.ndarray) -> np.ndarray:
        rows = self.slices(array).rows
        size = np.abs(rows.astype(np.float64))
        found = np.where(self._kept(rows) & ~np.isnan(size), 0.0, size)
        return self.arranged(found, array.shape)

    def per_slice(self, violation: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        found: np.ndarray = self.slices(violation).values.max(axis=1)
        return found


@dataclass(frozen=True)
class SparseRule(LargestRule):
    """Of each slice along the axis, a number of entries may be other than zero, or a share."""

    k: int | None = None
    density: float | None = None

    by_entry: ClassVar[bool] = False

    @property
    def traits(self) -> frozenset[str]:
        return super().traits | {"sliced constraints"}

    def axes(self, ndim: int) -> tuple[int, ...]:
        return normalized(self.axis, ndim)

    def along(self, axis: Axis) -> Self:
        return replace(self, axis=axis, arguments={**self.arguments, "axis": axis})

    def suits(self, shape: tuple[int, ...]) -> bool:
        return self.axis is None or len(shape) > 0

    def _most(self, length: int) -> int:
        if self.density is None:
            return self.k or 0
        return math.floor(self.density * length + 0.5)

    def unmoved(self, slices: Slices) -> np.ndarray:
        found: np.ndarray = np.isnan(slices.values).any(axis=1)
        return found

    def away(self, array: np.ndarray) -> np.ndarray:
        values = self.slices(array).values
        count = np.maximum((values != 0).sum(axis=1) - self._most(values.shape[1]), 0)
        found = np.where(np.isnan(values).any(axis=1), math.nan, count)
        return found.reshape(self.violation_shape(array.shape))

    def rounding(self, array: np.ndarray, fmt: Format) -> np.ndarray:
        return np.zeros(self.violation_shape(array.shape))

    def violation_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return KnownRule.violation_shape(self, shape)
