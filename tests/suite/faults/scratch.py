"""Norm constraints from scratch on NumPy, in steps that can be replaced one by one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from array_constraints_conformance.numerics.formats import Format, format_of

from array_constraints.executors.acceptance import accepted_by
from array_constraints.executors.run import deliver
from array_constraints.parameters import axes_of
from faults.making import after, implementation, in_its_byte_order

Rows = np.ndarray


@dataclass(frozen=True)
class Slices:
    """The slices of a weight as rows, and the norms that a constraint allows them."""

    rows: Rows
    lower: float
    upper: float
    rate: float = 1.0
    axes: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, constraint: Any, w: np.ndarray) -> Slices:
        axes = axes_of(constraint, w)
        kept = tuple(i for i in range(w.ndim) if i not in axes)
        count = math.prod(w.shape[i] for i in kept)
        length = math.prod(w.shape[i] for i in axes)
        rows = np.ascontiguousarray(w.transpose(kept + axes)).reshape(count, length)
        return cls(rows, *constraint.interval(), axes, w.shape)

    def restored(self, rows: Rows) -> np.ndarray:
        """Return the weight that has these rows as its slices."""
        order = tuple(i for i in range(len(self.shape)) if i not in self.axes) + self.axes
        lengths = [self.shape[i] for i in order]
        return rows.reshape(lengths).transpose(np.argsort(order)) if order else rows.reshape(())

    def replaced(self, rows: Rows) -> Slices:
        return dataclasses.replace(self, rows=rows)

    @property
    def n(self) -> int:
        return int(self.rows.shape[1])

    @property
    def levels(self) -> int:
        """The depth of a binary tree over a slice, L."""
        return max(self.n - 1, 0).bit_length()

    @property
    def dtype(self) -> str:
        return self.rows.dtype.name

    @property
    def fmt(self) -> Format:
        return format_of(self.rows.dtype)

    @property
    def u(self) -> float:
        return float(self.fmt.u)

    @property
    def wide(self) -> bool:
        return self.dtype in ("float32", "float64")

    @cached_property
    def values(self) -> Rows:
        return self.rows.astype(np.float64)

    @cached_property
    def finite(self) -> np.ndarray:
        return np.isfinite(self.values).all(axis=1)

    @cached_property
    def peak(self) -> np.ndarray:
        return np.max(np.abs(self.values), axis=1, initial=0.0)

    @cached_property
    def directed(self) -> np.ndarray:
        return self.finite & (self.peak > 0)

    @cached_property
    def ordinary(self) -> np.ndarray:
        return self.directed & (self.peak >= 1 / 64) & (self.peak <= 16)

    @cached_property
    def exponents(self) -> np.ndarray:
        """Powers of two that take the largest entry of each row to [1/2, 1)."""
        return np.where(self.directed, np.frexp(self.peak)[1], 0)

    @cached_property
    def scaled(self) -> Rows:
        """The rows times those powers, zeros where a row has no direction."""
        rows = np.where(self.directed[:, None], self.values, 0.0)
        return np.ldexp(rows, -self.exponents[:, None])

    @cached_property
    def scaled_norms(self) -> np.ndarray:
        return exact_norms(self.scaled)

    @cached_property
    def norms(self) -> np.ndarray:
        """The norms, infinite beyond the range of float64."""
        with np.errstate(over="ignore"):
            return np.ldexp(self.scaled_norms, self.exponents)


def exact_norms(rows: Rows) -> np.ndarray:
    """Return the norms of rows of ordinary size, within one roundoff of float64."""
    high = halves(rows)
    low = rows - high
    terms = np.concatenate([high * high, 2 * high * low, low * low], axis=1)  # each is exact
    return np.asarray([math.sqrt(math.fsum(row)) for row in terms.tolist()])


def halves(rows: Rows) -> Rows:
    """Return the leading 26 digits of each entry (Veltkamp)."""
    product = rows * float((1 << 27) + 1)
    return product - (product - rows)


Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Guard:
    """Norms to keep and to aim at, given the roundoffs of a slice until it is kept.

    ``roundoffs`` are those of the dtype that a slice is rescaled in: ``working``, or float64.
    """

    roundoffs: Callable[[Slices], float] = lambda s: 6.0
    working: str = "float64"

    def keeps(self, s: Slices) -> Pair:
        """Keep what is between the bounds; about their middle where margins leave no room."""
        if self.thin(s):
            middle, reach = (s.lower + s.upper) / 2, self.margin(s, s.lower)
            return middle * (1 - reach), middle * (1 + reach)
        return s.lower, s.upper

    def aims(self, s: Slices) -> Pair:
        """Aim inside of the bounds by what roundoff can add."""
        if self.thin(s):
            middle = (s.lower + s.upper) / 2
            return middle, middle
        low = s.lower * (1 + self.margin(s, s.lower))
        return low, s.upper * (1 - self.margin(s, s.upper)) if s.upper < math.inf else s.upper

    def thin(self, s: Slices) -> bool:
        return s.lower > 0 and s.upper <= s.lower * (1 + 4 * self.margin(s, s.lower))

    def margin(self, s: Slices, bound: float) -> float:
        """Return those roundoffs, and one of a narrower dtype: more where entries underflow."""
        own = min(s.u, 2.0**-24 if self.working == "float32" else 2.0**-53)
        spent = self.roundoffs(s) * own
        if s.u == own:
            return spent
        least = min(s.fmt.smallest / bound, 1 / math.sqrt(s.n)) if bound else 0.0
        return spent + s.u * (1 + 2 * s.u) * (1 + s.n * least * least / 4)


bounds, aims = Guard().keeps, Guard().aims


def nothing_else(s: Slices, norms: np.ndarray) -> np.ndarray:
    return np.zeros(len(s.rows), dtype=bool)


def divided(s: Slices, norms: np.ndarray, targets: np.ndarray) -> Rows:
    """Return the rows at their targets, where a rate is 1."""
    return s.scaled / norms[:, None] * targets[:, None]


@dataclass(frozen=True)
class Steps:
    """The steps of a norm constraint: measure, decide which slices to keep, aim, rescale."""

    norms: Callable[[Slices], np.ndarray] = lambda s: s.scaled_norms
    keeps: Callable[[Slices], Pair] = bounds
    keeps_too: Callable[[Slices, np.ndarray], np.ndarray] = nothing_else
    aims: Callable[[Slices], Pair] = aims
    rescaled: Callable[[Slices, np.ndarray, np.ndarray], Rows] = divided

    def attributes(self, judged: Steps | None = None) -> dict[str, Any]:
        """Return the call, and the violation in the same steps or in those of ``judged``."""

        def call(constraint: Any, w: Any, *, copy: bool | None = None) -> Any:
            w, library = accepted_by(constraint, w, copy)
            result = w
            if w.size and constraint.interval().rate != 0:
                with np.errstate(all="ignore"):
                    s = Slices.of(constraint, w)
                    result = s.restored(self.project(within_range(s)))
            return deliver(w, in_its_byte_order(w, result), copy, library)

        def violation(constraint: Any, w: Any) -> Any:
            w, _ = accepted_by(constraint, w)
            s = within_range(Slices.of(constraint, w))
            shape = [1 if i in s.axes else n for i, n in enumerate(w.shape)]
            with np.errstate(all="ignore"):
                return (judged or self).excess(s).reshape(shape)

        return {"__call__": call, "violation": violation}

    def decide(self, s: Slices) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the scaled norms, and which slices are too short, and which too long."""
        norms = self.norms(s)
        low, high = (np.ldexp(np.float64(b), -s.exponents) for b in self.keeps(s))
        open_ = s.directed & ~self.keeps_too(s, np.ldexp(norms, s.exponents))
        return norms, (norms < low) & open_, (norms > high) & open_

    def project(self, s: Slices) -> Rows:
        norms, short, long = self.decide(s)
        moved = short | long
        low, high = self.aims(s)
        norms = np.where(moved, norms, 1.0)
        result = self.rescaled(s, norms, np.where(long, high, low))
        if s.rate != 1:
            result = s.values * (1 - s.rate) + result * s.rate
        return np.where(moved[:, None], result.astype(s.rows.dtype), s.rows)

    def excess(self, s: Slices) -> np.ndarray:
        norms, short, long = self.decide(s)
        norms = np.ldexp(norms, s.exponents)
        found = np.where(long, norms - s.upper, np.where(short, s.lower - norms, 0.0))
        found = np.where(s.finite & (s.peak == 0), s.lower, found)
        spoiled = np.where(np.isnan(s.values).any(axis=1), math.nan, math.inf)
        return np.where(s.finite, found, spoiled)


def within_range(s: Slices) -> Slices:
    """Return the slices with bounds that the dtype has: what is beyond constrains nothing."""
    upper = s.upper if s.upper <= s.fmt.largest else math.inf
    return dataclasses.replace(s, lower=float(s.lower), upper=float(upper))


def after_rows(change: Callable[[Slices, Rows], Rows]) -> dict[str, Any]:
    """Return attributes: the right call, and then ``change(slices, images)`` on NumPy."""

    def changed(constraint: Any, w: np.ndarray, result: np.ndarray) -> np.ndarray:
        if not w.size:
            return result
        s = Slices.of(constraint, w)
        images = Slices.of(constraint, result).rows.copy()
        with np.errstate(all="ignore"):
            return s.restored(change(s, images))

    return after(changed)


def moved(s: Slices, images: Rows) -> np.ndarray:
    """Return which finite slices have other values than before."""
    return s.finite & (s.rows != images).any(axis=1)


UNIT, MINMAX, NONNEG = ("UnitNorm",), ("MinMaxNorm",), ("NonNeg",)
Module = Callable[[], Any]


def rows(change: Callable[[Slices, Rows], Rows], name: str = "MaxNorm") -> Module:
    """Return what makes a module that is right but for a change of this constraint's rows."""
    return of(name, after_rows(change))


def entries(change: Callable[..., Any], name: str = "MaxNorm") -> Module:
    """Return the same for a change of the weight as a whole: see ``after``."""
    return of(name, after(change))


def of(name: str, attributes: dict[str, Any]) -> Module:
    """Return the same for a constraint with these attributes."""
    return lambda: implementation(**{name: attributes})
