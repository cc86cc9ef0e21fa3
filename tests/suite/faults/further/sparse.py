"""Sparse, from scratch: a stable sort of each slice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_constraints_conformance.numerics.formats import Format

from faults.further.base import integer, number, sliced_axis
from faults.further.sliced import Row, Sliced


@dataclass(frozen=True)
class Sparse(Sliced):
    k: Any = None
    density: Any = None
    axis: Any = 0

    def __post_init__(self) -> None:
        if (self.k is None) == (self.density is None):
            raise ValueError(f"k or density is needed, got {self.k!r}, {self.density!r}")
        axis = sliced_axis(self.axis)
        if self.k is not None:
            if integer("k", self.k) < 0:
                raise ValueError(f"k must not be negative, got {self.k!r}")
            self.set(k=integer("k", self.k), axis=axis)
        else:
            if not 0 <= number("density", self.density) <= 1:
                raise ValueError(f"density must be between 0 and 1, got {self.density!r}")
            self.set(density=number("density", self.density), axis=axis)

    def most(self, length: int) -> int:
        return self.k if self.density is None else math.floor(self.density * length + 0.5)

    def settled(self, row: Row) -> Row:
        size = np.abs(row.astype(np.float64))
        if self.too_many(size) == 0 or np.isnan(size).any():
            return row
        found = row.copy()
        found[self.order(size)[self.most(len(row)) :]] = 0
        return found

    def order(self, size: Row) -> np.ndarray:
        return np.argsort(-size, kind="stable")

    def too_many(self, size: Row) -> int:
        return max(int((size != 0).sum()) - self.most(len(size)), 0)

    def reported(self, row: Row, fmt: Format) -> float:
        return math.nan if np.isnan(row).any() else float(self.too_many(row))


SPARSE = (Sparse,)
