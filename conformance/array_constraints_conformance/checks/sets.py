"""SET: the result is allowed, is the nearest point, and stays where it is."""

from __future__ import annotations

import math

import numpy as np

from array_constraints_conformance.catalogue import ExactRule, MembershipRule, NormRule
from array_constraints_conformance.catalogue.thresholds import ThresholdRule
from array_constraints_conformance.checks.beside import beside_anything
from array_constraints_conformance.checks.registry import check, law
from array_constraints_conformance.checks.shared import (
    agrees,
    is_allowed,
    is_exact,
    is_near,
    known,
    rebuilt,
    stays,
    where,
)
from array_constraints_conformance.numerics.bits import relative, same_bits, same_values
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case


@law("SET-1")
def the_result_is_allowed(seen: Observation) -> int:
    return is_allowed(seen, seen.rule.demanded(seen.before, seen.directed) & seen.ordinary)


@law("SET-2")
def interior_points_do_not_move(seen: Observation) -> int:
    same = same_values(seen.before.rows, seen.after.rows, seen.flushes)
    chosen = seen.interior & (seen.ordinary | isinstance(seen.rule, ExactRule | MembershipRule))
    for i in where(chosen & ~same):
        seen.fail(i, "a slice that is allowed was changed", seen.before.rows[i])
    return int(chosen.sum())


@law("SET-3")
def the_result_is_the_nearest_point(seen: Observation) -> int:
    if isinstance(seen.rule, ExactRule):
        return is_exact(seen)
    chosen = where(seen.directed & seen.ordinary)
    for i in chosen:
        seen.require(seen.after.finite[i], i, "the result is not finite", "a finite slice")
        is_near(seen, i)
    return len(chosen)


@law("SET-6")
def applying_twice_equals_applying_once(seen: Observation) -> int:
    return stays(seen, seen.again, "twice")


@check("SET-7")
def a_thousand_applications_do_not_drift(trial: Trial) -> int:
    applied = 0
    times = trial.profile.repetitions
    if trial.calls.lazy:
        times = max(5, times // 50)  # each is a graph, built and computed
    for case in trial.samples:
        if "idempotent maps" in case.rule.traits:
            seen = trial.observe(case)
            x = seen.output
            for _ in range(times - 1):
                x = trial.calls.call(case.rule, x)
                if trial.calls.lazy:
                    x = trial.library.array(trial.calls.result(case, x))
            applied += stays(seen, trial.calls.result(case, x), f"{times} times")
    return applied


@check("SET-8")
def slices_do_not_touch_each_other(trial: Trial) -> int:
    def compare(seen: Observation, other: Observation, chosen: np.ndarray, what: str) -> None:
        same = same_bits(seen.after.rows, other.after.rows, seen.flushes)
        for i in where(chosen & ~same):
            message = f"the result changed with {what} in another slice"
            other.fail(i, message, seen.after.rows[i])

    return beside_anything(trial, compare)


@check("SET-9")
def the_order_of_entries_does_not_matter(trial: Trial) -> int:
    applied = 0
    for case in trial.cases:
        seen = trial.observe(case)
        if "symmetric sets" not in case.rule.traits or (seen.n < 2 and not seen.rule.exact):
            continue
        if seen.rule.exact:  # slices are entries
            other = trial.observe(Case(case.w[::-1].copy(), case.rule))
            back = other.result[::-1].reshape(seen.after.rows.shape)
        else:
            order = np.random.default_rng(trial.seed).permutation(seen.n)
            other = trial.observe(Case(rebuilt(seen.before.rows[:, order], seen), seen.rule))
            back = other.after.rows[:, np.argsort(order)]
        applied += agrees(seen, back, "the result depends on the order of the entries")
    return applied


@law("SET-10")
def signs_are_symmetric(seen: Observation) -> int:
    other = Observation(seen.calls, Case(-seen.w, seen.rule))
    same_ = same_bits if isinstance(seen.rule, NormRule) else same_values
    same = same_(-other.after.rows, seen.after.rows, seen.flushes)
    for i in where(seen.before.finite & ~same):
        seen.fail(i, "P(-w) is not -P(w)", -other.after.rows[i])
    return int(seen.before.finite.sum())


@law("SET-11")
def no_entry_changes_sign(seen: Observation) -> int:
    w, image = seen.before.values, seen.after.values
    kept = (image == 0) | (np.sign(w) == np.sign(image)) | np.isnan(image)  # see NUM-1
    for i in where(seen.before.finite & ~kept.all(axis=1)):
        seen.fail(
            i, "an entry changed its sign, or a zero became another number", "the same signs"
        )
    return int(seen.before.finite.sum())


@law("SET-12")
def zero_slices_stay_zero(seen: Observation) -> int:
    chosen = known(seen).undirected(seen.before)
    same = same_values(seen.before.rows, seen.after.rows, seen.flushes)
    for i in where(chosen & ~same):
        what = "a zero slice did not stay zero" if seen.zero[i] else "a constant slice changed"
        seen.fail(i, what, seen.before.rows[i])
    return int(chosen.sum())


@law("SET-13")
def a_rate_moves_by_its_share(seen: Observation) -> int:
    rule = seen.rule
    if not isinstance(rule, NormRule) or rule.rate == 1:
        return 0
    chosen = where(seen.directed & seen.ordinary & seen.after.finite)
    for i in chosen:
        expected = rule.norm_after(rule.norm(seen.before, i), seen.n)
        norm = rule.norm(seen.after, i)
        allowed = seen.fmt.near(seen.n) * max(expected, norm)
        seen.require(
            abs(norm - expected) <= allowed,
            i,
            f"the norm became {relative(norm)}",
            relative(expected),
        )
    return len(chosen)


@check("SET-14")
def bounds_at_the_ends_of_their_range(trial: Trial) -> int:
    applied = 0
    definition = trial.definition
    for rule, fmt in trial.paired(
        [definition.with_arguments(given) for given in _ENDS[trial.constraint]]
    ):
        for case in trial.sample(rule, fmt):
            applied += _at_the_end(trial.observe(case))
    return applied


_ENDS: dict[str, list[dict[str, float]]] = {
    "MaxNorm": [{"max_value": math.inf}, {"max_value": 0}],
    "MinMaxNorm": [{"min_value": 0.5, "max_value": math.inf}, {"rate": 0.0, "min_value": 0.5}],
    "L1Ball": [{"radius": math.inf}, {"radius": 0}],
}


def _at_the_end(seen: Observation) -> int:
    rule = seen.rule
    if not isinstance(rule, NormRule | ThresholdRule):
        return 0
    if rule.upper == 0:
        least = seen.fmt.smallest if seen.flushes else 0.0  # smaller ones count as zero
        size = np.abs(seen.after.values)
        for i in where(seen.directed & ~((size == 0) | (size < least)).all(axis=1)):
            seen.fail(i, "a bound of 0 was exceeded", np.zeros(seen.n))
        return int(seen.directed.sum())
    unbound = isinstance(rule, ThresholdRule) or rule.rate == 0
    kept = seen.before.finite if unbound else seen.interior
    same = same_values(seen.before.rows, seen.after.rows, seen.flushes)
    for i in where(kept & ~same):
        seen.fail(i, "a slice that nothing constrains was changed", seen.before.rows[i])
    return int(kept.sum())
