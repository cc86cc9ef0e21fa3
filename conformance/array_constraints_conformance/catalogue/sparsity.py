"""N:M sparsity: of each group of consecutive entries, few are other than zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from array_constraints_conformance.catalogue.exact import ExactRule, cycled, kept_derivative
from array_constraints_conformance.catalogue.kinds import Kind
from array_constraints_conformance.catalogue.rule import Rule
from array_constraints_conformance.numerics.axes import Axis
from array_constraints_conformance.numerics.exact import Slices, arranged
from array_constraints_conformance.numerics.formats import Format


@dataclass(frozen=True)
class GroupRule(ExactRule):
    """Of each ``m`` consecutive entries, ``n`` may be other than zero: a slice is a group."""

    n: int = 2
    m: int = 4

    uniform: ClassVar[bool] = False
    layouts: ClassVar[tuple[str, ...]] = ("long slices",)
    wide: ClassVar[tuple[tuple[tuple[int, ...], int], ...]] = (((12, 2732), 1), ((344, 96), 0))

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "further sets"}
        found |= {"idempotent maps", "projections", "sets with an interior", "exact sets"}
        return frozenset(found | {"sets that keep signs", "even sets"})

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

    def _kept(self, rows: np.ndarray) -> np.ndarray:
        """Return which entries of each group are kept: the largest, the first of a tie."""
        size = np.abs(rows.astype(np.float64))
        order = np.argsort(-size, axis=1, kind="stable")
        rank = np.argsort(order, axis=1, kind="stable")
        return (rank < self.n) | (size == 0) | np.isnan(size).any(axis=1, keepdims=True)

    def image(self, array: np.ndarray) -> np.ndarray:
        rows = self.slices(array).rows
        kept = np.where(self._kept(rows), rows, rows.dtype.type(0)).astype(array.dtype)
        return self.arranged(kept, array.shape)

    def away(self, array: np.ndarray) -> np.ndarray:
        rows = self.slices(array).rows
        size = np.abs(rows.astype(np.float64))
        found = np.where(self._kept(rows) & ~np.isnan(size), 0.0, size)
        return self.arranged(found, array.shape)

    def per_slice(self, violation: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        found: np.ndarray = self.slices(violation).values.max(axis=1)
        return found

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


def nm_sparse(name: str, given: Mapping[str, Any]) -> Rule:
    return GroupRule(name, given, given["axis"], given["n"], given["m"])
