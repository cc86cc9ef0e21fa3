"""Patterns: entries that have to be zero by their index."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from array_constraints_conformance.catalogue.exact import ExactRule, kept_derivative
from array_constraints_conformance.catalogue.rule import Rule


@dataclass(frozen=True)
class PatternRule(ExactRule):
    """Some entries are zero, by their index: a slice is one entry."""

    uniform: ClassVar[bool] = False
    layouts: ClassVar[tuple[str, ...]] = ("leading axis", "first and last axis")

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "convex sets"}
        found |= {"idempotent maps", "projections", "sets with an interior"}
        found |= {"exact sets", "sets of integers", "patterns", "further sets"}
        return frozenset(found | {"sets that keep signs", "even sets"})

    def axes(self, ndim: int) -> tuple[int, ...]:
        return ()

    def allowed_at(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return which entries of a weight of this shape may be other than zero."""
        raise NotImplementedError

    def image(self, array: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            kept = self.allowed_at(array.shape) | (array != array)
        return np.where(kept, array, array.dtype.type(0)).astype(array.dtype)

    def away(self, array: np.ndarray) -> np.ndarray:
        wide = np.abs(array.astype(np.float64))
        return np.where(self.allowed_at(array.shape) & ~np.isnan(wide), 0.0, wide)

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        return kept_derivative(self.allowed_at(w.shape))


@dataclass(frozen=True)
class MaskRule(PatternRule):
    """Entries are zero where a mask is false; a length of 1 stands for any."""

    pattern: tuple[bool, ...] = (True, False, True, True, False)
    lengths: tuple[int, ...] | None = None  # of the mask; else it is made for each weight

    def placed(self, shape: tuple[int, ...]) -> Self:
        """Return the rule with a mask of this shape, or of length 1 along the last axis."""
        lengths = tuple(n or 1 for n in shape)
        lengths = (*lengths[:-1], 1) if len(shape) > 1 and shape[-1] % 2 else lengths
        flat = np.resize(np.asarray(self.pattern), math.prod(lengths))
        mask = flat.reshape(lengths).tolist()
        return replace(self, arguments={**self.arguments, "mask": mask}, lengths=lengths)

    def suits(self, shape: tuple[int, ...]) -> bool:
        return self.lengths is None or (
            len(shape) == len(self.lengths)
            and all(m in (1, n) for m, n in zip(self.lengths, shape, strict=True))
        )

    def allowed_at(self, shape: tuple[int, ...]) -> np.ndarray:
        own = self if self.lengths is not None else self.placed(shape)
        return np.broadcast_to(np.asarray(own.arguments["mask"], dtype=bool), shape)


@dataclass(frozen=True)
class BandRule(PatternRule):
    """Entries (i, j) of each matrix are zero unless ``low <= j - i <= high``."""

    low: float = -math.inf
    high: float = math.inf

    def suits(self, shape: tuple[int, ...]) -> bool:
        axes = self._pair(len(shape))
        return axes is not None and axes[0] != axes[1]

    def _pair(self, ndim: int) -> tuple[int, int] | None:
        rows, columns = self.axis  # type: ignore[misc]
        fits = all(-ndim <= i < ndim for i in (rows, columns))
        return (rows % ndim, columns % ndim) if fits and ndim else None

    def allowed_at(self, shape: tuple[int, ...]) -> np.ndarray:
        pair = self._pair(len(shape))
        if pair is None:
            raise ValueError(f"no pair of axes {self.axis} in a weight of shape {shape}")
        i, j = (np.arange(shape[axis]) for axis in pair)
        lengths = [[n if k == axis else 1 for k, n in enumerate(shape)] for axis in pair]
        offset = j.reshape(lengths[1]) - i.reshape(lengths[0])
        return np.broadcast_to((self.low <= offset) & (offset <= self.high), shape)


def mask(name: str, given: Mapping[str, Any]) -> Rule:
    found = given["mask"]
    if isinstance(found, str):  # as a config holds it: packed, beside its shape
        lengths = tuple(given["shape"])
        packed = np.frombuffer(base64.b64decode(found), np.uint8)
        bits = np.unpackbits(packed, count=math.prod(lengths)).astype(bool)
        found = bits.reshape(lengths).tolist()
    pattern = tuple(np.asarray(found, dtype=bool).ravel().tolist())
    return MaskRule(name, {"mask": found}, None, pattern)


def triangular(name: str, given: Mapping[str, Any]) -> Rule:
    offset, lower = given["offset"], given["part"] == "lower"
    ends = (-math.inf, offset) if lower else (offset, math.inf)
    return BandRule(name, given, given["axis"], *ends)


def banded(name: str, given: Mapping[str, Any]) -> Rule:
    below, above = given["lower"], given["upper"]
    low, high = (math.inf if limit is None else limit for limit in (below, above))
    return BandRule(name, given, given["axis"], -low, high)
