"""Chain, Relaxed and Blocks, from scratch, of members that are given by their configs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_constraints_conformance.numerics.formats import Format

from faults.further.base import Further, dimensions, integer, number, sliced_axis
from faults.further.sliced import Row, Sliced, Sphere, ldexp


@dataclass(frozen=True)
class NonNeg(Further):
    def project(self, w: np.ndarray) -> np.ndarray:
        return np.where(w < 0, np.zeros((), w.dtype), w)

    def excess(self, w: np.ndarray) -> np.ndarray:
        wide = w.astype(np.float64)
        return np.where(np.isnan(wide), wide, np.maximum(-wide, 0.0))


@dataclass(frozen=True)
class UnitNorm(Sliced):
    axis: Any = 0

    radius: ClassVar[float] = 1.0
    unit: ClassVar[str] = "norm"
    scaled = Sphere.scaled
    keeps = Sphere.keeps
    moved = Sphere.moved
    away = Sphere.away

    def __post_init__(self) -> None:
        self.set(axis=sliced_axis(self.axis))


@dataclass(frozen=True)
class MaxNorm(Sliced):
    max_value: float = 2
    axis: Any = 0

    unit: ClassVar[str] = "norm"
    scaled = Sphere.scaled

    def __post_init__(self) -> None:
        self.set(max_value=number("max_value", self.max_value), axis=sliced_axis(self.axis))

    def keeps(self, row: Row, fmt: Format) -> bool:
        _, size, e = self.scaled(row)
        return ldexp(size, e) <= self.max_value * (1 + 1.5 * float(fmt.u))

    def moved(self, row: Row, fmt: Format) -> Row | None:
        short, size, _ = self.scaled(row)
        return short / size * self.max_value

    def away(self, row: Row, fmt: Format) -> float:
        _, size, e = self.scaled(row)
        return ldexp(size, e) - self.max_value


MEMBERS = {cls.__name__: cls for cls in (NonNeg, UnitNorm, MaxNorm)}


def member(given: Any) -> Any:
    """Return the constraint that a config describes, or what is one already."""
    if isinstance(given, dict):
        return MEMBERS[given["class_name"]](**given["config"])
    if not isinstance(given, Further):
        raise TypeError(f"constraint must be a constraint or its config, got {given!r}")
    return given


def _config(made: Any) -> dict[str, Any]:
    return {"class_name": type(made).__name__, "config": made.get_config()}


@dataclass(frozen=True)
class Chain(Further):
    constraints: Any

    def __post_init__(self) -> None:
        if not isinstance(self.constraints, list | tuple):
            raise TypeError(f"constraints must be a list, got {self.constraints!r}")
        if not self.constraints:
            raise ValueError(f"constraints must not be empty, got {self.constraints!r}")
        self.set(constraints=tuple(map(member, self.constraints)))

    def get_config(self) -> dict[str, Any]:
        return {"constraints": [_config(one) for one in self.constraints]}

    def fit(self, shape: tuple[int, ...]) -> None:
        for one in self.constraints:
            one.fit(shape)

    def project(self, w: np.ndarray) -> np.ndarray:
        for one in self.constraints:
            w = np.asarray(one.project(w)).astype(w.dtype)
        return w

    def excess(self, w: np.ndarray) -> np.ndarray:
        found = np.zeros((1,) * w.ndim)
        for one in self.constraints:
            found = np.maximum(found, one.excess(w))
        return found


@dataclass(frozen=True)
class Relaxed(Further):
    constraint: Any
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= number("rate", self.rate) <= 1:
            raise ValueError(f"rate must be between 0 and 1, got {self.rate!r}")
        self.set(constraint=member(self.constraint), rate=number("rate", self.rate))

    def get_config(self) -> dict[str, Any]:
        return {"constraint": _config(self.constraint), "rate": self.rate}

    def fit(self, shape: tuple[int, ...]) -> None:
        self.constraint.fit(shape)

    def project(self, w: np.ndarray) -> np.ndarray:
        image = np.asarray(self.constraint.project(w)).astype(w.dtype)
        v, p = w.astype(np.float64), image.astype(np.float64)
        blended = v - (v - p) * self.rate if self.rate <= 0.5 else p - (p - v) * (1 - self.rate)
        kept = self.kept(w, image)
        return np.where(kept, w, blended.astype(w.dtype))

    def kept(self, w: np.ndarray, image: np.ndarray) -> np.ndarray:
        return (w == image) | np.isnan(w.astype(np.float64))

    def excess(self, w: np.ndarray) -> np.ndarray:
        return self.constraint.excess(w)


@dataclass(frozen=True)
class Blocks(Further):
    constraint: Any
    axis: int = 0
    size: Any = None
    sizes: Any = None

    def __post_init__(self) -> None:
        if (self.size is None) == (self.sizes is None):
            raise ValueError(f"give one of size and sizes, got {self.size!r}, {self.sizes!r}")
        if self.sizes is not None and not isinstance(self.sizes, list | tuple):
            raise TypeError(f"sizes must be a list, got {self.sizes!r}")
        if self.sizes is not None:
            self.set(sizes=tuple(integer("sizes", n) for n in self.sizes))
        else:
            self.set(size=integer("size", self.size))
        if min(self.sizes or (self.size,)) < 1:
            raise ValueError(f"size, sizes must be at least 1, got {self.size}, {self.sizes}")
        self.set(constraint=member(self.constraint), axis=integer("axis", self.axis))

    def get_config(self) -> dict[str, Any]:
        sizes = None if self.sizes is None else list(self.sizes)
        given = {"constraint": _config(self.constraint), "axis": self.axis}
        return {**given, "size": self.size, "sizes": sizes}

    def fit(self, shape: tuple[int, ...]) -> None:
        (axis,) = dimensions(self.axis, shape)
        fits = shape[axis] % self.size == 0 if self.size else sum(self.sizes) == shape[axis]
        if not fits:
            raise ValueError(f"blocks of {self.size or self.sizes} do not fit {shape}")
        self.constraint.fit(shape)

    def parts(self, w: np.ndarray) -> list[np.ndarray]:
        (axis,) = dimensions(self.axis, w.shape)
        sizes = self.sizes or (self.size,) * (w.shape[axis] // self.size)
        return np.split(w, np.cumsum(sizes)[:-1], axis) if w.shape[axis] else [w]

    def joined(self, parts: list[np.ndarray], w: np.ndarray) -> np.ndarray:
        return np.concatenate(parts, dimensions(self.axis, w.shape)[0])

    def project(self, w: np.ndarray) -> np.ndarray:
        return self.joined([self.constraint.project(part) for part in self.parts(w)], w)

    def excess(self, w: np.ndarray) -> np.ndarray:
        return self.joined([self.constraint.excess(part) for part in self.parts(w)], w)


COMBINED = (Chain, Relaxed, Blocks)
