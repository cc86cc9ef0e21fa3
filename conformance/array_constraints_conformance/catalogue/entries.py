"""Entries in an interval: the non-negative ones, and those of a box."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue.exact import ExactRule, kept_derivative
from array_constraints_conformance.catalogue.kinds import Kind, kinds
from array_constraints_conformance.catalogue.rule import Rule
from array_constraints_conformance.numerics.formats import Format, format_of


@dataclass(frozen=True)
class EntryRule(ExactRule):
    """Each entry lies in ``[lower, upper]``: a slice is one entry."""

    lower: float = 0.0
    upper: float = math.inf

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "convex sets"}
        found |= {"idempotent maps", "projections", "sets with an interior"}
        found |= {"exact sets", "sets of integers", "solid sets", "symmetric sets"}
        found |= {"Keras constraints"} if self.name == "NonNeg" else {"further sets"}
        found |= {"sets that keep signs"} if self.lower <= 0 <= self.upper else set()
        found |= {"even sets"} if self.lower == -self.upper else set()
        return frozenset(found)

    @property
    def layouts(self) -> tuple[str, ...]:  # type: ignore[override]
        return () if self.name == "NonNeg" else ("one entry", "leading axis")

    def axes(self, ndim: int) -> tuple[int, ...]:
        return ()

    def fits(self, fmt: Format, n: int) -> bool:
        """Whether a number of the format lies between the bounds."""
        low, high = inwards(self.lower, self.upper, fmt.dtype)
        return low <= high

    def image(self, array: np.ndarray) -> np.ndarray:
        low, high = inwards(self.lower, self.upper, array.dtype)
        if array.dtype.kind in "iu":
            return np.minimum(np.maximum(array, int(low)), int(high)).astype(array.dtype)
        wide = array.astype(np.float64)
        found = np.where(wide < low, low, np.where(wide > high, high, wide))
        return found.astype(array.dtype)

    def away(self, array: np.ndarray) -> np.ndarray:
        wide = array.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            under, over = self.lower - wide, wide - self.upper
        found = np.where(wide < self.lower, under, np.where(wide > self.upper, over, 0.0))
        return np.where(np.isnan(wide), math.nan, found)

    def rounding(self, array: np.ndarray, fmt: Format) -> np.ndarray:
        wide = np.abs(np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0))
        bound = max(
            (abs(b) for b in (self.lower, self.upper) if 0 < abs(b) < math.inf), default=0
        )
        return 2 * float(fmt.u) * np.maximum(bound, wide) if bound else np.zeros(array.shape)

    def hard(self, fmt: Format) -> tuple[float, ...]:
        """Return the bounds, as the format has them, and the numbers beside these."""
        found = [math.inf, -math.inf, math.nan]
        for bound in inwards(self.lower, self.upper, fmt.dtype):
            if abs(bound) < math.inf:
                step = max(abs(bound) * float(fmt.u), fmt.smallest)
                found += [bound + k * step for k in (-4, -2, -1, 0, 1, 2, 4)] + [-bound]
        return tuple(found)

    def kinds(self, fmt: Format) -> list[Kind]:
        return kinds(self.bounds, fmt) if self.name == "NonNeg" else super().kinds(fmt)

    def expectation(self, slices: Any, fmt: Format) -> str:
        if self.upper == math.inf:
            return f"an entry that is at least {self.lower:g}"
        return f"an entry in [{self.lower!r}, {self.upper!r}]"

    def satisfied(self, fmt: Format) -> Iterator[np.ndarray]:
        low, high = inwards(self.lower, self.upper, fmt.dtype)
        ends = [b for b in (low, high) if abs(b) < math.inf]
        yield np.asarray([min(max(x, low), high) for x in (0.0, 1.5, 2.0, -0.0)]).astype(
            fmt.dtype
        )
        yield np.resize(np.asarray(ends), 4).astype(fmt.dtype)

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        return kept_derivative(self.away(w) == 0)


@cache
def inwards(lower: float, upper: float, dtype: np.dtype) -> tuple[float, float]:
    """Return the least and the largest number of a dtype between two bounds."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low = info.min if lower < info.min else math.ceil(lower)
        return low, info.max if upper > info.max else math.floor(upper)
    return -_down(-lower, dtype), _down(upper, dtype)


def _down(bound: float, dtype: np.dtype) -> float:
    """Return the largest number of a floating dtype that is at most the bound."""
    if math.isinf(bound):
        return bound
    fmt = format_of(dtype)
    if abs(bound) > fmt.largest:
        return fmt.largest if bound > 0 else -math.inf
    exponent = max(math.frexp(bound)[1] - fmt.digits, math.frexp(fmt.smallest)[1] - fmt.digits)
    return math.ldexp(math.floor(math.ldexp(bound, -exponent)), exponent)


def non_neg(name: str, given: Mapping[str, Any]) -> Rule:
    return EntryRule(name, given)


def box(name: str, given: Mapping[str, Any]) -> Rule:
    return EntryRule(name, given, None, given["min_value"], given["max_value"])
