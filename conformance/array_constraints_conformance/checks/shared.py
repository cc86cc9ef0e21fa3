"""Laws that several checks require: a result is allowed, near, stable, in agreement."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from array_constraints_conformance.catalogue import ExactRule, KnownRule, MembershipRule
from array_constraints_conformance.numerics.bits import relative, same_values
from array_constraints_conformance.numerics.exact import Slices, floats, root
from array_constraints_conformance.trial.observation import Observation


def where(mask: np.ndarray) -> list[int]:
    """Return the indices at which a mask is true."""
    return [int(i) for i in np.flatnonzero(mask)]


def is_allowed(seen: Observation, chosen: np.ndarray) -> int:
    """Require that the chosen slices of the result are allowed, within the tolerance."""
    allowed = seen.rule.allowed(seen.before, seen.after, seen.fmt, seen.underflow)
    for i in where(chosen & ~allowed):
        what = seen.rule.measured(seen.after, i)
        seen.fail(i, f"the result is not allowed{what}", expectation(seen))
    return int(chosen.sum())


def expectation(seen: Observation) -> str:
    """Return in words what a slice should become."""
    return seen.rule.expectation(seen.before, seen.fmt)


def known(seen: Observation) -> KnownRule:
    """Return the rule, whose nearest points are known."""
    if not isinstance(seen.rule, KnownRule):
        raise TypeError(f"the nearest points of {seen.rule} are not known")
    return seen.rule


def is_exact(seen: Observation) -> int:
    """Require the values of the nearest allowed slices, where nothing is rounded."""
    rule = seen.rule
    if not isinstance(rule, ExactRule):
        raise TypeError(f"{rule} rounds")
    nearest = rule.nearest_rows(seen.before)
    same = same_values(nearest, seen.after.rows, seen.flushes)
    for i in where(seen.before.finite & ~same):
        seen.fail(i, "not the nearest allowed point", nearest[i])
    return int(seen.before.finite.sum())


def is_near(seen: Observation, i: int) -> None:
    """Require that slice ``i`` of the result is the nearest allowed one, within roundoff."""
    rule = known(seen)
    distance, size = rule.apart(seen.before, seen.after, i)
    reach = max(size, root(seen.after.square(i)))
    allowed = rule.near(seen.before, i, seen.fmt, reach) + seen.underflow
    if distance > allowed:
        nearest = np.asarray(floats(rule.nearest(seen.before, i)))
        seen.fail(
            i,
            f"{relative(distance)} away from the nearest point, allowed: {relative(allowed)}",
            nearest,
        )


def stays(seen: Observation, later: np.ndarray, times: str) -> int:
    """Require that ``later`` is the result, within the tolerance."""
    moved = seen.slices(later)
    chosen = where(seen.before.finite & seen.after.finite)
    if seen.rule.exact:
        same = same_values(seen.after.rows, moved.rows, seen.flushes)
        for i in where(seen.before.finite & ~same):
            seen.fail(
                i, f"applied {times}, an entry changed again", seen.after.rows[i], moved.rows[i]
            )
        return len(chosen)
    unchanged = (seen.after.values == moved.values).all(axis=1)
    for i in chosen:
        if unchanged[i]:
            continue
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
    return seen.rule.arranged(rows, seen.w.shape)


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
        error = allowed_error(seen, i, norm)
        if distance > 2 * error and not goes_either_way(seen, i):
            seen.fail(i, f"{message}: {relative(distance)} apart", seen.after.rows[i], rows[i])
    return len(rows)


def allowed_error(seen: Observation, i: int, norm: Fraction) -> Fraction:
    """Return how far a right result of a norm may be from the nearest point."""
    if seen.rule.exact:
        return Fraction(0)
    if not isinstance(seen.rule, KnownRule):
        return seen.fmt.near(seen.n) * norm + seen.underflow
    return seen.rule.near(seen.before, i, seen.fmt, norm) + seen.underflow


def goes_either_way(seen: Observation, i: int) -> bool:
    """Whether slice ``i`` is in the band of a bound, where it may be kept or projected."""
    if not isinstance(seen.rule, KnownRule) or not seen.before.finite[i]:
        return False
    return seen.rule.close(seen.before, i, seen.fmt, seen.underflow)
