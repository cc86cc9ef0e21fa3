"""The catalogue of constraints known by name: their parameters, and the slices they allow."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from array_constraints_conformance.counterexample import (
    WrongMembership,
    as_python,
    message_of,
    stated,
)
from array_constraints_conformance.numerics.axes import Axis, normalized
from array_constraints_conformance.numerics.exact import Slices, root
from array_constraints_conformance.numerics.formats import Format

Membership = Callable[[np.ndarray, float], bool]


@dataclass(frozen=True)
class Rule(ABC):
    """One constraint with its arguments: the slices that it allows."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    axis: Axis = None

    @property
    @abstractmethod
    def traits(self) -> frozenset[str]:
        """The terms of the specification that apply to it."""

    @abstractmethod
    def axes(self, ndim: int) -> tuple[int, ...]:
        """Return the dimensions that a slice runs along."""

    @abstractmethod
    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        """Whether each finite slice is allowed, with bounds widened by ``slack`` of each."""

    def along(self, axis: Axis) -> Rule:
        """Return this rule for slices along ``axis``; itself where it has no such argument."""
        return self

    def fits(self, fmt: Format, n: int) -> bool:
        """Whether the laws speak of slices of ``n`` entries in this format."""
        return True

    @property
    def key(self) -> str:
        return repr(self)

    def __str__(self) -> str:
        given = {**self.arguments, **({"axis": self.axis} if "axis" in self.arguments else {})}
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in given.items())})"


@dataclass(frozen=True)
class NormRule(Rule):
    """The Euclidean norm of each slice lies in ``[lower, upper]``."""

    lower: float = 0.0
    upper: float = math.inf
    rate: float = 1.0

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "norm constraints"}
        found |= {"idempotent maps"} if self.rate in (0, 1) else set()
        found |= {"projections"} if self.rate == 1 else set()
        found |= {"convex sets"} if self.lower == 0 and self.rate == 1 else set()
        found |= {"sets with an interior"} if self.lower < self.upper else set()
        return frozenset(found)

    @property
    def bounds(self) -> tuple[float, ...]:
        """The finite bounds, the lower one only where it demands something."""
        return tuple(b for b in dict.fromkeys((self.lower, self.upper)) if 0 < b < math.inf)

    def axes(self, ndim: int) -> tuple[int, ...]:
        return normalized(self.axis, ndim)

    def fits(self, fmt: Format, n: int) -> bool:
        """Whether the bounds are from sqrt(n) t to the largest number of the format."""
        return all(math.sqrt(n) * fmt.smallest <= b <= fmt.largest for b in self.bounds)

    def along(self, axis: Axis) -> NormRule:
        return replace(self, axis=axis, arguments={**self.arguments, "axis": axis})

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        low, high = self.squared_bounds(slack)
        return np.asarray(
            [q is not None and low <= q and (high is None or q <= high) for q in slices.squares]
        )

    def squared_bounds(self, slack: Fraction) -> tuple[Fraction, Fraction | None]:
        low = (Fraction(self.lower) * (1 - slack)) ** 2
        finite = self.upper < math.inf
        return low, (Fraction(self.upper) * (1 + slack)) ** 2 if finite else None

    def norm_after(self, norm: Fraction) -> Fraction:
        """Return the norm that the definition gives to a slice of this norm."""
        clipped = max(norm, Fraction(self.lower))
        clipped = min(clipped, Fraction(self.upper)) if self.upper < math.inf else clipped
        rate = Fraction(self.rate)
        return (1 - rate) * norm + rate * clipped

    def scale(self, slices: Slices, i: int) -> Fraction:
        """Return the factor that moves slice ``i``, which has a direction, to its result."""
        norm = root(slices.square(i))
        return self.norm_after(norm) / norm

    def distance(self, slices: Slices, i: int) -> Fraction:
        """Return how far the norm of slice ``i`` is from the interval."""
        norm = root(slices.square(i))
        over = norm - Fraction(self.upper) if self.upper < math.inf else Fraction(0)
        return max(Fraction(0), over, Fraction(self.lower) - norm)


@dataclass(frozen=True)
class EntryRule(Rule):
    """Each entry is at least zero: a slice is one entry."""

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "convex sets"}
        found |= {"idempotent maps", "projections", "sets with an interior"}
        return frozenset(found)

    def axes(self, ndim: int) -> tuple[int, ...]:
        return ()

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        return (slices.values >= 0).all(axis=1)


@dataclass(frozen=True)
class MembershipRule(Rule):
    """A set that is known by a membership test alone."""

    contains: Membership = lambda w, slack: True
    convex: bool = False
    idempotent: bool = True

    @property
    def traits(self) -> frozenset[str]:
        found = {"every constraint", "sets with an interior"}
        found |= {"convex sets"} if self.convex else set()
        found |= {"idempotent maps", "projections"} if self.idempotent else set()
        return frozenset(found)

    @property
    def left_out(self) -> str:
        """What is not judged, and by which arguments it is, as the end of a sentence."""
        whole = "contains= is given whole weights: pass axis= for slices"
        far = "nearest points are not judged: pass convex=True"
        said = ([whole] if self.axis is None else []) + ([] if self.convex else [far])
        return f"; {', and '.join(said)}" if said else ""

    def axes(self, ndim: int) -> tuple[int, ...]:
        return normalized(self.axis, ndim)

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        return np.asarray(
            [
                bool(finite) and self._contains(row, float(slack))
                for row, finite in zip(slices.values, slices.finite, strict=True)
            ]
        )

    def _contains(self, row: np.ndarray, slack: float) -> bool:
        try:
            answer = self.contains(row, slack)
        except Exception as error:
            given = f"for {as_python(row)} and slack {slack:g}"
            wrong = WrongMembership(f"contains= raised {message_of(error)}, {given}")
            raise stated(wrong) from error
        if not isinstance(answer, bool | np.bool_):
            raise stated(
                WrongMembership(f"contains= is to return True or False, not {answer!r:.80}")
            )
        return bool(answer)


@dataclass(frozen=True)
class Definition:
    """The definition of a constraint: its signature, and the parameters it is judged with."""

    name: str
    defaults: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]
    rule: Callable[[str, Mapping[str, Any]], Rule]
    more: tuple[Mapping[str, Any], ...] = ()

    def rules(self, quick: bool = False) -> list[Rule]:
        """Return the rules that it is judged by: without ``more`` in the quick profile."""
        chosen = self.parameters if quick else self.parameters + self.more
        return [self.with_arguments(given) for given in chosen]

    def with_arguments(self, given: Mapping[str, Any]) -> Rule:
        return self.rule(self.name, {**self.defaults, **given})


def _max_norm(name: str, given: Mapping[str, Any]) -> Rule:
    return NormRule(name, given, given["axis"], 0.0, given["max_value"])


def _min_max_norm(name: str, given: Mapping[str, Any]) -> Rule:
    bounds = given["min_value"], given["max_value"], given["rate"]
    return NormRule(name, given, given["axis"], *bounds)


def _unit_norm(name: str, given: Mapping[str, Any]) -> Rule:
    return NormRule(name, given, given["axis"], 1.0, 1.0)


CATALOGUE: dict[str, Definition] = {
    definition.name: definition
    for definition in (
        Definition(
            "MaxNorm",
            {"max_value": 2, "axis": 0},
            # 2 by default, one that no binary format holds, and one of many digits.
            ({"max_value": 2}, {"max_value": 0.7}, {"max_value": 1.5 + 2.0**-20}),
            _max_norm,
        ),
        Definition(
            "MinMaxNorm",
            {"min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": 0},
            (
                {"min_value": 0.5, "max_value": 1.5},
                {"min_value": 0.0, "max_value": 1.0},
                {"min_value": 0.5, "max_value": 1.0, "rate": 0.25},
                {"min_value": 0.7, "max_value": 0.7},
            ),
            _min_max_norm,
            # Bounds 16 roundoffs apart, in float32 and in float64, 256 in float64, and one in
            # float16; the annulus without an end.
            (
                {"min_value": 1.0, "max_value": 1 + 2.0**-20},
                {"min_value": 1.0, "max_value": 1 + 2.0**-49},
                {"min_value": 1.0, "max_value": 1 + 2.0**-45},
                {"min_value": 0.7, "max_value": 0.7 * (1 + 2.0**-11)},
                {"min_value": 0.5, "max_value": math.inf},
            ),
        ),
        Definition("NonNeg", {}, ({},), lambda name, given: EntryRule(name, given)),
        Definition("UnitNorm", {"axis": 0}, ({},), _unit_norm),
    )
}
