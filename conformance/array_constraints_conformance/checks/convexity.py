"""SET-4 and SET-5: the inequalities of a projection onto a convex set."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import inf

import numpy as np

from array_constraints_conformance.catalogue import EntryRule, NormRule
from array_constraints_conformance.checks.registry import law
from array_constraints_conformance.checks.shared import where
from array_constraints_conformance.numerics.bits import relative
from array_constraints_conformance.numerics.exact import (
    Vector,
    difference,
    product,
    root,
    scaled,
)
from array_constraints_conformance.trial.observation import Observation


@law("SET-4", compares=True)
def the_variational_inequality_holds(seen: Observation) -> int:
    rule = seen.rule
    if isinstance(rule, EntryRule):
        return _orthant_inequality(seen)
    if isinstance(rule, NormRule):
        return _ball_inequality(seen, Fraction(rule.upper) if rule.upper < inf else None)
    applied = 0
    finite = where(seen.before.finite & seen.after.finite)
    for i in finite:
        for j in finite:
            _demand(seen, i, seen.after.vector(j))
            applied += 1
    return applied


def _ball_inequality(seen: Observation, radius: Fraction | None) -> int:
    """Require the inequality at the worst member of the ball, in the direction ``w - P(w)``."""
    chosen = where(seen.directed & seen.ordinary & seen.after.finite)
    for i in chosen:
        if radius is None:  # all of the space: w is a member
            _demand(seen, i, seen.before.vector(i))
            continue
        step = difference(seen.before.vector(i), seen.after.vector(i))
        length = root(product(step, step))
        if length:
            _demand(seen, i, scaled(step, radius / length))
    return len(chosen)


def _orthant_inequality(seen: Observation) -> int:
    """Require it for all z >= 0: w - P(w) is at most 0, and 0 where P(w) is not."""
    narrow = seen.before.rows.astype(seen.after.rows.dtype)[:, 0]
    w, image = narrow.astype(np.float64), seen.after.values[:, 0]
    finite = np.isfinite(w) & np.isfinite(image) & ~seen.zero
    holds = (w <= image) & ((w == image) | (image == 0))
    for i in where(finite & ~holds):
        seen.fail(
            i,
            "the result is not the nearest allowed point: an allowed z is nearer",
            max(0.0, w[i]),
        )
    return int(finite.sum())


def _demand(seen: Observation, i: int, member: Vector) -> None:
    """Require <w - P(w), z - P(w)> <= 0 for z = member, within what roundoff adds."""
    step = difference(seen.before.vector(i), seen.after.vector(i))
    away = difference(member, seen.after.vector(i))
    reach = max(root(product(member, member)), root(seen.after.square(i)))
    error = seen.fmt.near(seen.n) * reach + seen.underflow
    allowed = error * (root(product(step, step)) + root(product(away, away)) + 3 * error)
    along = product(step, away)
    if along > allowed:
        message = (
            f"not the nearest allowed point: <w - P(w), z - P(w)> = {relative(along)} at some z"
        )
        seen.fail(i, message, f"at most {relative(allowed)}")


@law("SET-5", compares=True)
def projections_are_non_expansive(seen: Observation) -> int:
    finite = where(seen.before.finite & seen.after.finite)
    if isinstance(seen.rule, EntryRule):
        return _entries_come_no_further_apart(seen, finite)
    for i, j in pairwise(finite):
        apart = difference(seen.before.vector(i), seen.before.vector(j))
        images = difference(seen.after.vector(i), seen.after.vector(j))
        norms = root(seen.after.square(i)) + root(seen.after.square(j))
        allowed = root(product(apart, apart)) + seen.fmt.near(seen.n) * norms
        allowed += 2 * seen.underflow
        found = root(product(images, images))
        if found > allowed:
            other = seen.before.values[j].tolist()
            message = f"further from the result for {other[:8]} than the inputs are apart"
            seen.fail(i, message, f"a distance of at most {relative(allowed)}", relative(found))
    return max(0, len(finite) - 1)


def _entries_come_no_further_apart(seen: Observation, finite: list[int]) -> int:
    """Compare neighbours in float64: rounding a difference keeps the order of differences."""
    finite = [i for i in finite if not seen.flushed[i]]
    before = seen.before.rows[finite, 0].astype(seen.after.rows.dtype).astype(np.float64)
    with np.errstate(over="ignore"):
        apart, found = (np.abs(np.diff(x)) for x in (before, seen.after.values[finite, 0]))
    for k in where(found > apart):
        message = f"further from the result for {before[k + 1]!r} than the inputs are apart"
        seen.fail(finite[k], message, f"a distance of at most {apart[k]!r}", found[k])
    return len(apart)
