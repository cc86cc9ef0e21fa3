"""Box, Mask, Triangular, Banded and NMSparse, from scratch: nothing is rounded."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from faults.further.base import Further, dimensions, integer, number, pair_of_axes


def wide(w: np.ndarray) -> np.ndarray:
    return w.astype(np.float64)


@dataclass(frozen=True)
class Box(Further):
    min_value: float = -1.0
    max_value: float = 1.0

    integers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        low = number("min_value", self.min_value, finite=False)
        high = number("max_value", self.max_value, finite=False)
        if low > high:
            raise ValueError(f"min_value must be at most max_value, got {low!r}, {high!r}")
        self.set(min_value=low, max_value=high)

    def bounds(self, dtype: np.dtype) -> tuple[Any, Any]:
        """Return the bounds in a dtype, rounded inwards."""
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            low = info.min if self.min_value < info.min else math.ceil(self.min_value)
            high = info.max if self.max_value > info.max else math.floor(self.max_value)
        else:
            low = inwards(self.min_value, 1, dtype)
            high = inwards(self.max_value, -1, dtype)
        if low > high:
            raise ValueError(f"{dtype} has no number in [{self.min_value}, {self.max_value}]")
        return low, high

    def accept(self, w: Any) -> None:
        super().accept(w)
        self.bounds(w.dtype)

    def project(self, w: np.ndarray) -> np.ndarray:
        low, high = self.bounds(w.dtype)
        v = wide(w)  # compared with a Python number, w would round it
        moved = np.where(v < self.min_value, np.asarray(low, w.dtype), w).astype(w.dtype)
        return np.where(v > self.max_value, np.asarray(high, w.dtype), moved)

    def excess(self, w: np.ndarray) -> np.ndarray:
        v = wide(w)
        found = np.where(v < self.min_value, self.min_value - v, 0.0)
        found = np.where(v > self.max_value, v - self.max_value, found)
        return np.where(np.isnan(v), np.nan, found)


def inwards(bound: float, direction: int, dtype: np.dtype) -> float:
    """Return the bound in a dtype, rounded up or down."""
    if math.isinf(bound):
        return bound
    with np.errstate(over="ignore"):
        near = np.asarray(bound).astype(dtype)
    outside = float(near) < bound if direction > 0 else float(near) > bound
    if outside:
        near = np.nextafter(near, np.asarray(direction * math.inf).astype(dtype))
    return float(near)


class Pattern(Further):
    """Entries where ``allowed`` is false are brought to zero."""

    integers: ClassVar[bool] = True

    def allowed(self, shape: tuple[int, ...]) -> np.ndarray:
        raise NotImplementedError

    def project(self, w: np.ndarray) -> np.ndarray:
        kept = self.allowed(w.shape) | (w != w) | (w == 0)
        return np.where(kept, w, np.zeros_like(w))

    def excess(self, w: np.ndarray) -> np.ndarray:
        v = np.abs(wide(w))
        return np.where(self.allowed(w.shape) & ~np.isnan(v), 0.0, v)


@dataclass(frozen=True)
class Mask(Pattern):
    mask: Any
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.mask, str):
            self.set(shape=tuple(self.shape or ()))
            return
        try:
            found = np.asarray(self.mask)
        except ValueError:
            raise ValueError(f"mask is ragged: {self.mask!r}") from None
        if found.dtype != bool:
            raise TypeError(f"mask must hold bools, got {self.mask!r}")
        packed = base64.b64encode(np.packbits(found).tobytes()).decode()
        self.set(mask=packed, shape=found.shape)

    def fit(self, shape: tuple[int, ...]) -> None:
        own = self.shape or ()
        if len(own) != len(shape) or any(
            m not in (1, n) for m, n in zip(own, shape, strict=True)
        ):
            raise ValueError(f"a mask of shape {own} does not fit the shape {shape}")

    def allowed(self, shape: tuple[int, ...]) -> np.ndarray:
        words = np.frombuffer(base64.b64decode(self.mask), np.uint8)
        bits = np.unpackbits(words, count=math.prod(self.shape or ()))
        return np.broadcast_to(bits.astype(bool).reshape(self.shape or ()), shape)


class Matrices(Pattern):
    """Patterns of the difference of a column and a row, in each matrix."""

    axis: Any

    def fit(self, shape: tuple[int, ...]) -> None:
        dimensions(self.axis, shape)

    def diagonals(self, shape: tuple[int, ...]) -> np.ndarray:
        rows, columns = (i % len(shape) for i in self.axis)
        places = np.indices(shape, sparse=True)
        return np.broadcast_to(places[columns] - places[rows], shape)


@dataclass(frozen=True)
class Triangular(Matrices):
    part: str = "lower"
    offset: int = 0
    axis: Any = (-2, -1)

    def __post_init__(self) -> None:
        if not isinstance(self.part, str):
            raise TypeError(f"part must be 'lower' or 'upper', got {self.part!r}")
        if self.part not in ("lower", "upper"):
            raise ValueError(f"part must be 'lower' or 'upper', got {self.part!r}")
        self.set(offset=integer("offset", self.offset), axis=pair_of_axes(self.axis))

    def allowed(self, shape: tuple[int, ...]) -> np.ndarray:
        found = self.diagonals(shape)
        return found <= self.offset if self.part == "lower" else found >= self.offset


@dataclass(frozen=True)
class Banded(Matrices):
    lower: int | None = 0
    upper: int | None = 0
    axis: Any = (-2, -1)

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            limit = getattr(self, name)
            if limit is not None:
                self.set(**{name: integer(name, limit)})
                if limit < 0:
                    raise ValueError(f"{name} must not be negative, got {limit!r}")
        self.set(axis=pair_of_axes(self.axis))

    def allowed(self, shape: tuple[int, ...]) -> np.ndarray:
        found = self.diagonals(shape)
        kept = np.ones(shape, dtype=bool)
        if self.lower is not None:
            kept &= found >= -self.lower
        return kept if self.upper is None else kept & (found <= self.upper)


@dataclass(frozen=True)
class NMSparse(Further):
    n: int = 2
    m: int = 4
    axis: int = -1

    integers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.set(
            n=integer("n", self.n), m=integer("m", self.m), axis=integer("axis", self.axis)
        )
        if not 1 <= self.n <= self.m:
            raise ValueError(f"1 <= n <= m is needed, got n={self.n!r}, m={self.m!r}")

    def fit(self, shape: tuple[int, ...]) -> None:
        (axis,) = dimensions(self.axis, shape)
        if shape[axis] % self.m:
            raise ValueError(
                f"{shape[axis]} entries along axis {axis} are no groups of {self.m}"
            )

    def groups(self, w: np.ndarray) -> np.ndarray:
        """Return the weight with the groups as its last dimension."""
        last = np.moveaxis(w, self.axis, -1)
        return last.reshape(*last.shape[:-1], w.shape[self.axis] // self.m, self.m)

    def back(self, groups: np.ndarray, w: np.ndarray) -> np.ndarray:
        lengths = np.moveaxis(w, self.axis, -1).shape
        return np.moveaxis(groups.reshape(lengths), -1, self.axis)

    def dropped(self, groups: np.ndarray) -> np.ndarray:
        """Return the entries that n others, larger or equal and before them, come ahead of."""
        size = np.abs(wide(groups))
        ahead = (size[..., None, :] > size[..., :, None]).sum(-1)
        equal = size[..., None, :] == size[..., :, None]
        ahead += (equal & np.tri(self.m, k=-1, dtype=bool)).sum(-1)
        return (ahead >= self.n) & (size != 0) & ~np.isnan(size).any(-1, keepdims=True)

    def project(self, w: np.ndarray) -> np.ndarray:
        groups = self.groups(w)
        return self.back(np.where(self.dropped(groups), np.zeros_like(groups), groups), w)

    def excess(self, w: np.ndarray) -> np.ndarray:
        groups = self.groups(w)
        size = np.abs(wide(groups))
        return self.back(np.where(self.dropped(groups) | np.isnan(size), size, 0.0), w)


EXACT = (Box, Mask, Triangular, Banded, NMSparse)
