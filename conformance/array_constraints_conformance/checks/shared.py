"""Laws that several checks require: a result is allowed, near, stable, in agreement."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from array_constraints_conformance.catalogue import EntryRule, MembershipRule, NormRule
from array_constraints_conformance.numerics.bits import relative, same_values
from array_constraints_conformance.numerics.exact import Slices, root
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.weights.neighbours import arranged


def where(mask: np.ndarray) -> list[int]:
    """Return the indices at which a mask is true."""
    return [int(i) for i in np.flatnonzero(mask)]


def is_allowed(seen: Observation, chosen: np.ndarray) -> int:
    """Require that the chosen slices of the result are allowed, within the tolerance."""
    rule, slack = seen.rule, seen.fmt.tolerance(seen.n)
    allowed = rule.holds(seen.after, slack)
    for i in where(chosen & ~allowed):
        size, norm = seen.after.squares[i], ""
        if isinstance(rule, NormRule):
            norm = " (not finite)" if size is None else f" (norm {float(root(size))!r})"
        seen.fail(i, f"the result is not allowed{norm}", expectation(seen, i))
    return int(chosen.sum())


def expectation(seen: Observation, i: int) -> str:
    """Return in words what slice ``i`` should become."""
    rule = seen.rule
    if isinstance(rule, NormRule):
        slack = relative(seen.fmt.tolerance(seen.n))
        return f"a norm in [{rule.lower:g}, {rule.upper:g}], within a relative {slack}"
    return "an entry that is at least 0" if isinstance(rule, EntryRule) else "an allowed value"


def has_to_be_allowed(seen: Observation) -> np.ndarray:
    """Return which slices have a result that is to be allowed: finite ones, at rate 1."""
    if isinstance(seen.rule, EntryRule):
        return seen.before.finite
    if isinstance(seen.rule, NormRule) and seen.rule.rate != 1:
        return np.zeros(len(seen.before), dtype=bool)
    return seen.directed


def is_near(seen: Observation, i: int, scale: Fraction) -> None:
    """Require that slice ``i`` of the result is ``scale`` times the input, within roundoff."""
    distance = seen.after.distance(i, seen.before, scale)
    norm = max(scale * root(seen.before.square(i)), root(seen.after.square(i)))
    allowed = seen.fmt.near(seen.n) * norm + seen.underflow
    if distance > allowed:
        nearest = seen.before.values[i] * float(scale)
        seen.fail(
            i,
            f"{relative(distance)} away from the nearest point, allowed: {relative(allowed)}",
            nearest,
        )


def stays(seen: Observation, later: np.ndarray, times: str) -> int:
    """Require that ``later`` is the result, within the tolerance."""
    moved = Slices(later, seen.axes)
    chosen = where(seen.before.finite & seen.after.finite)
    if isinstance(seen.rule, EntryRule):
        same = same_values(seen.after.rows, moved.rows, seen.flushes)
        for i in where(seen.before.finite & ~same):
            seen.fail(
                i, f"applied {times}, an entry changed again", seen.after.rows[i], moved.rows[i]
            )
        return len(chosen)
    for i in chosen:
        expected = seen.after.rows[i]
        if not moved.finite[i]:
            seen.fail(i, f"applied {times}, it is not finite", expected, moved.rows[i])
        distance, size = moved.distance(i, seen.after), root(seen.after.square(i))
        if isinstance(seen.rule, MembershipRule):  # it may bring any weight near zero
            size = max(size, root(seen.before.square(i)))
        allowed = seen.fmt.tolerance(seen.n) * size + seen.underflow
        if distance > allowed:
            how = f"moved by {relative(distance)}, allowed: {relative(allowed)}"
            seen.fail(i, f"applied {times}, it {how}", expected, moved.rows[i])
    return len(chosen)


def rebuilt(rows: np.ndarray, seen: Observation) -> np.ndarray:
    """Return the array of the observation's shape with these slices."""
    return arranged(rows, seen.w.shape, seen.axes)


def agrees(
    seen: Observation, rows: np.ndarray, message: str, chosen: Iterable[int] | None = None
) -> int:
    """Require that rows agree with the result, within twice the error that each may have."""
    if rows.shape != seen.after.rows.shape or rows.dtype != seen.after.rows.dtype:
        shown = f"shape {rows.shape}, dtype {rows.dtype}"
        seen.fail(
            None,
            message,
            f"shape {seen.after.rows.shape}, dtype {seen.after.rows.dtype}",
            shown,
        )
    same = same_values(seen.after.rows, rows, seen.flushes)
    other = Slices(rows, (1,))
    candidates = range(len(rows)) if chosen is None else chosen
    for i in candidates:
        if same[i] or (seen.zero[i] and seen.flushes):
            continue
        if not (seen.after.finite[i] and other.finite[i]):
            seen.fail(i, message, seen.after.rows[i], rows[i])
        distance = other.distance(i, seen.after)
        norm = max(root(seen.after.square(i)), root(other.square(i)))
        exact = isinstance(seen.rule, EntryRule)
        allowed = Fraction(0) if exact else 2 * (seen.fmt.near(seen.n) * norm + seen.underflow)
        if distance > allowed and not goes_either_way(seen, i):
            seen.fail(i, f"{message}: {relative(distance)} apart", seen.after.rows[i], rows[i])
    return len(rows)


def goes_either_way(seen: Observation, i: int) -> bool:
    """Whether slice ``i`` is in the band of a bound, where it may be kept or projected."""
    if not isinstance(seen.rule, NormRule) or not seen.before.finite[i]:
        return False
    norm, slack = root(seen.before.square(i)), seen.fmt.tolerance(seen.n)
    return any(abs(norm - Fraction(b)) <= slack * Fraction(b) for b in seen.rule.bounds)
