"""SET-4 and SET-5: the inequalities of a projection onto a convex set."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from array_constraints_conformance.catalogue import ExactRule, KnownRule
from array_constraints_conformance.checks.registry import law
from array_constraints_conformance.checks.shared import allowed_error, where
from array_constraints_conformance.numerics.bits import relative
from array_constraints_conformance.numerics.exact import (
    Vector,
    difference,
    product,
    root,
)
from array_constraints_conformance.trial.observation import Observation


@law("SET-4", compares=True)
def the_variational_inequality_holds(seen: Observation) -> int:
    rule = seen.rule
    if rule.exact:
        return _exact_inequality(seen)
    if isinstance(rule, KnownRule):
        chosen = where(seen.directed & seen.ordinary & seen.after.finite)
        for i in chosen:
            for member in rule.members(seen.before, seen.after, i):
                _demand(seen, i, member)
        return len(chosen)
    applied = 0
    finite = where(seen.before.finite & seen.after.finite)
    for i in finite:
        for j in finite:
            _demand(seen, i, seen.after.vector(j))
            applied += 1
    return applied


def _exact_inequality(seen: Observation) -> int:
    """Require it of every entry, for all allowed z: P(w) is w, or the end that is nearer.

    An entry has to lie in an interval; of a pattern, in that of 0 alone or that of all numbers.
    """
    rule = seen.rule
    if not isinstance(rule, ExactRule):
        raise TypeError(f"{rule} rounds")
    nearest = rule.nearest_rows(seen.before).astype(seen.after.rows.dtype)
    finite = seen.before.finite & seen.after.finite & ~seen.zero
    holds = (nearest.astype(np.float64) == seen.after.values).all(axis=1)
    for i in where(finite & ~holds):
        message = "the result is not the nearest allowed point: an allowed z is nearer"
        seen.fail(i, message, nearest[i])
    return int(finite.sum())


def _demand(seen: Observation, i: int, member: Vector) -> None:
    """Require <w - P(w), z - P(w)> <= 0 for z = member, within what roundoff adds."""
    step = difference(seen.before.vector(i), seen.after.vector(i))
    away = difference(member, seen.after.vector(i))
    reach = max(root(product(member, member)), root(seen.after.square(i)))
    error = allowed_error(seen, i, reach)
    allowed = error * (root(product(step, step)) + root(product(away, away)) + 3 * error)
    along = product(step, away)
    if along > allowed:
        message = (
            f"not the nearest allowed point: <w - P(w), z - P(w)> = {relative(along)} at some z"
        )
        seen.fail(i, message, f"at most {relative(allowed)}")


@law("SET-5", compares=True)
def projections_are_non_expansive(seen: Observation) -> int:
    finite = where(seen.reachable & seen.after.finite)
    if seen.rule.exact:
        return _entries_come_no_further_apart(seen, finite)
    for i, j in pairwise(finite):
        apart = difference(seen.before.vector(i), seen.before.vector(j))
        images = difference(seen.after.vector(i), seen.after.vector(j))
        errors = (allowed_error(seen, k, root(seen.after.square(k))) for k in (i, j))
        allowed = root(product(apart, apart)) + sum(errors)
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
    image = seen.after.values[finite, 0]
    if not seen.rule.uniform:  # entries are not brought there by one map: each beside zero
        before, image = (np.stack([x, 0 * x], axis=1).reshape(-1) for x in (before, image))
        finite = [i for i in finite for _ in range(2)]
    with np.errstate(over="ignore"):
        apart, found = (np.abs(np.diff(x)) for x in (before, image))
    for k in where(found > apart):
        message = f"further from the result for {before[k + 1]!r} than the inputs are apart"
        seen.fail(finite[k], message, f"a distance of at most {apart[k]!r}", found[k])
    return len(apart)
