"""A set that is known by a membership test alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from array_constraints_conformance.catalogue.rule import Rule
from array_constraints_conformance.counterexample import (
    WrongMembership,
    as_python,
    message_of,
    stated,
)
from array_constraints_conformance.numerics.axes import normalized
from array_constraints_conformance.numerics.exact import Slices
from array_constraints_conformance.numerics.formats import Format

Membership = Callable[[np.ndarray, float], bool]


@dataclass(frozen=True)
class MembershipRule(Rule):
    """A set that is known by a membership test alone."""

    contains: Membership = lambda w, slack: True
    convex: bool = False
    idempotent: bool = True

    @property
    def traits(self) -> frozenset[str]:
        found = {"every constraint", "sets with an interior", "solid sets"}
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

    @property
    def judged_anywhere(self) -> bool:
        return not self.axes(4)

    def axes(self, ndim: int) -> tuple[int, ...]:
        return normalized(self.axis, ndim)

    def interior(self, slices: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        found: np.ndarray = slices.finite & self.holds(slices, -fmt.tolerance(slices.length))
        return found

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
