"""The parameters of the constraints that a peer has: its adapter adds what is computed."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from array_constraints_conformance.peers.slices import Axis, OfRows

Normal = float | tuple[float, ...]


@dataclass(frozen=True)
class MaxNorm(OfRows):
    max_value: float = 2
    axis: Axis = 0


@dataclass(frozen=True)
class UnitNorm(OfRows):
    axis: Axis = 0


@dataclass(frozen=True)
class Sphere(OfRows):
    radius: float = 1.0
    axis: Axis = 0
    unit: str = "norm"

    def norm(self, row: Any) -> float:
        """Return the norm that a slice, the last dimension, is to have."""
        return self.radius * (math.sqrt(row.shape[-1]) if self.unit == "rms" else 1)


@dataclass(frozen=True)
class Halfspace(OfRows):
    normal: Normal
    bound: float = 0.0
    axis: Axis = 0


@dataclass(frozen=True)
class Hyperplane(OfRows):
    normal: Normal
    value: float = 0.0
    axis: Axis = 0


@dataclass(frozen=True)
class Simplex(OfRows):
    total: float = 1.0
    axis: Axis = 0


@dataclass(frozen=True)
class L1Ball(OfRows):
    radius: float = 1.0
    axis: Axis = 0


@dataclass(frozen=True)
class NMSparse(OfRows):
    n: int = 2
    m: int = 4
    axis: Axis = -1

    @abstractmethod
    def groups(self, groups: Any) -> Any:
        """Return the peer's result for each row, which is a group of ``m`` entries."""

    def rows(self, rows: Any) -> Any:
        return self.groups(rows.reshape((-1, self.m))).reshape(rows.shape)


@dataclass(frozen=True)
class Sparse:
    k: int | None
    density: float | None = None
    axis: Axis = 0

    def most(self, length: int) -> int:
        """Return how many entries of a slice of that length may be other than zero."""
        if self.density is None:
            return self.k or 0
        return int(self.density * length + 0.5)


@dataclass(frozen=True)
class Box:
    min_value: float = -1.0
    max_value: float = 1.0


@dataclass(frozen=True)
class Mask:
    mask: Any


@dataclass(frozen=True)
class Triangular:
    part: str = "lower"
    offset: int = 0
    axis: tuple[int, int] = (-2, -1)
