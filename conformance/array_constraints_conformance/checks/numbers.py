"""NUM: the exponent range, long slices, NaN and infinity, and the proven margins."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from array_constraints_conformance.catalogue import ExactRule, NormRule
from array_constraints_conformance.catalogue.thresholds import ThresholdRule
from array_constraints_conformance.checks.registry import check, law
from array_constraints_conformance.checks.shared import (
    is_allowed,
    is_near,
    known,
    rebuilt,
    where,
)
from array_constraints_conformance.counterexample import attempt, require
from array_constraints_conformance.numerics.bits import relative, same_bits, same_values
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case


@law("NUM-1")
def the_whole_exponent_range_works(seen: Observation) -> int:
    exact = isinstance(seen.rule, ExactRule)
    for i in where(seen.reachable & ~seen.after.finite):
        seen.fail(i, "a finite slice came back with NaN or infinity", "a finite slice")
    if exact:
        return is_allowed(seen, seen.before.finite & ~seen.ordinary)
    chosen = where(seen.directed & ~seen.ordinary & ~seen.flushed)
    for i in chosen:  # MaxNorm could lose a slice, and the result would still be allowed
        is_near(seen, i)
    return len(chosen)


@check("NUM-2")
def accuracy_does_not_degrade_with_length(trial: Trial) -> int:
    applied, n = 0, 1 << trial.profile.log_length
    for fmt in trial.half(trial.formats, len(trial.constraint) + 1):
        rule = trial.rule.along(0).placed((n, 2))
        if not rule.fits(fmt, n):
            continue
        equal = 1.3 * max([1.0, *rule.bounds])
        w = np.full((n, 2), min(equal, fmt.largest)).astype(fmt.dtype)
        w[:, 1] = np.random.default_rng(trial.seed).standard_normal(n).astype(fmt.dtype)
        seen = trial.observe(Case(w, rule))
        demanded = rule.demanded(seen.before, seen.directed)
        applied += is_allowed(seen, demanded)
        for i in where(seen.directed & ~demanded):
            seen.require(seen.after.finite[i], i, "the result is not finite", "a finite slice")
            is_near(seen, i)
            applied += 1
    return applied


def _as_if_zero(seen: Observation, chosen: np.ndarray, what: str) -> int:
    """Require that the other slices come back as if the chosen ones were zero."""
    rows = seen.before.rows.copy()
    rows[chosen] = 0
    without = Observation(seen.calls, Case(rebuilt(rows, seen), seen.rule))
    same = same_values(seen.after.rows, without.after.rows, seen.flushes)
    for i in where(~chosen & ~same):
        seen.fail(i, f"{what} in another slice changed this one", without.after.rows[i])
    return int(chosen.sum())


@law("NUM-3")
def nan_stays_in_its_slice(seen: Observation) -> int:
    holes = np.isnan(seen.before.values)
    for i in where((holes & ~np.isnan(seen.after.values)).any(axis=1)):
        seen.fail(i, "a NaN disappeared", seen.before.rows[i])
    return _as_if_zero(seen, holes.any(axis=1), "NaN") if holes.any() else 0


@law("NUM-4")
def infinity_stays_in_its_slice(seen: Observation) -> int:
    chosen = np.isinf(seen.before.values).any(axis=1) & ~np.isnan(seen.before.values).any(
        axis=1
    )
    unmoved = seen.rule.unmoved(seen.before)
    if isinstance(seen.rule, ExactRule):
        expected = seen.rule.nearest_rows(seen.before).astype(np.float64)
        wrong = (expected != seen.after.values).any(axis=1)
    else:
        expected, wrong = seen.before.values, seen.after.finite & unmoved
    for i in where(chosen & wrong):
        seen.fail(
            i, "an infinity disappeared, or was kept where it is not allowed", expected[i]
        )
    return _as_if_zero(seen, chosen, "infinity") if chosen.any() else 0


@law("NUM-5")
def satisfied_slices_come_back_bit_for_bit(seen: Observation) -> int:
    for i in where(seen.interior & ~seen.same):
        message = "a satisfied slice did not come back bit for bit"
        seen.fail(i, message, seen.before.rows[i])
    return int(seen.interior.sum())


def changed(seen: Observation) -> Iterator[tuple[NormRule | ThresholdRule, int]]:
    """Yield the rule for each slice that changed, which is to be finite."""
    rule = seen.rule
    if isinstance(rule, NormRule | ThresholdRule) and rule.upper < math.inf:
        for i in where(seen.directed & ~seen.same):
            seen.require(seen.after.finite[i], i, "the result is not finite", "a finite slice")
            yield rule, i


@law("NUM-6")
def a_projected_slice_never_exceeds_its_bound(seen: Observation) -> int:
    applied = 0
    for rule, i in changed(seen):
        over = rule.excess(seen.after, i)
        if over > 0:
            excess = relative(over / seen.fmt.u)
            seen.fail(i, f"{excess} u over the bound, in exact arithmetic", "at most the bound")
        applied += 1
    return applied


@law("NUM-7")
def a_projected_slice_is_not_shrunk_further_than_the_margin(seen: Observation) -> int:
    applied = 0
    for rule, i in changed(seen):
        bound = Fraction(rule.upper)
        size = rule.size(seen.after, i)
        depth = rule.depth(seen.fmt, seen.n)
        if size < bound * (1 - depth):
            short = relative((1 - size / bound) / seen.fmt.u)
            most = f"at most {relative(depth / seen.fmt.u)} u below the bound"
            seen.fail(i, f"{short} u below the bound", most)
        applied += 1
    return applied


@law("NUM-8")
def what_is_kept_is_within_the_band(seen: Observation) -> int:
    rule = known(seen)
    if "projections" not in rule.traits:
        return 0
    allowed = rule.kept(seen.before, seen.fmt, seen.underflow)
    chosen = seen.directed & seen.same
    if seen.flushes and rule.exact:  # then "the same" says nothing of subnormal entries
        size = np.abs(seen.before.values)
        chosen &= ((size == 0) | (size >= seen.fmt.smallest)).all(axis=1)
    for i in where(chosen & ~allowed):
        what = rule.measured(seen.before, i)
        seen.fail(i, f"a slice was kept{what}", "a projected slice")
    return int(chosen.sum())


@law("NUM-9", close=True)
def applying_twice_equals_applying_once(seen: Observation) -> int:
    again = seen.slices(seen.again).rows
    for i in where(~same_bits(seen.after.rows, again, seen.flushes)):
        message = "applied again, it changed a bit"
        seen.fail(i, message, seen.after.rows[i], again[i])
    return len(again)


@law("NUM-10")
def a_slice_of_nan_or_infinity_comes_back_unchanged(seen: Observation) -> int:
    chosen = seen.rule.unmoved(seen.before)
    for i in where(chosen & ~seen.same):
        seen.fail(i, "a slice of NaN or infinity was changed", seen.before.rows[i])
    return int(chosen.sum())


@law("NUM-14")
def a_solution_comes_back_bit_for_bit(seen: Observation) -> int:
    chosen = known(seen).satisfies(seen.before)
    for i in where(chosen & ~seen.same):
        seen.fail(i, "a slice that satisfies the equation was changed", seen.before.rows[i])
    return int(chosen.sum())


@check("NUM-11")
def no_warning_is_raised(trial: Trial) -> int:
    applied = 0
    extreme = trial.half(_extreme_rules(trial), len(trial.constraint))
    for rule, fmt in trial.paired([*trial.rules, *extreme]):
        for case in trial.sample(rule, fmt):
            applied += _without_warning(trial, case)
    return applied


def _without_warning(trial: Trial, case: Case) -> int:
    x = trial.library.array(case.w)
    violation = getattr(trial.calls.constraint_of(case.rule), "violation", None)
    for name, run in (("the call", trial.calls.map_of(case.rule)), ("violation", violation)):
        if run is None:
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trial.library.numpy(attempt(str(case.rule), run, x, w=case.w))
        details = {"constraint": str(case.rule), "dtype": case.w.dtype.name, "input": case.w}
        said = f"{caught[0].category.__name__}: {caught[0].message}" if caught else ""
        require(not caught, f"{name} warned", expected="no warning", got=said, **details)
    return 1


def _extreme_rules(trial: Trial) -> list[NormRule]:
    """Rules with bounds from 0 to infinity, beyond the range of every format."""
    definition = trial.definition
    if not isinstance(trial.rule, NormRule) or "max_value" not in definition.defaults:
        return []
    bounds = (0, 1e-300, 1e-30, 1e-4, 1e4, 1e30, 1e300, math.inf)
    rules = [definition.with_arguments({"max_value": b}) for b in bounds]
    if "min_value" in definition.defaults:
        pairs = ((1e-40, 1e-30), (1e30, math.inf), (1e-300, 1e300))
        rules += [definition.with_arguments({"min_value": a, "max_value": b}) for a, b in pairs]
        rules.append(definition.with_arguments({"rate": 0.0}))
    return rules  # type: ignore[return-value]


@check("NUM-13")
def bounds_outside_the_range_of_the_dtype(trial: Trial) -> int:
    applied = 0
    for rule in _extreme_rules(trial):
        for fmt in trial.formats:
            above = rule.lower == 0 and fmt.largest < rule.upper < math.inf
            if above or rule.upper < fmt.smallest:
                for case in trial.sample(rule, fmt):
                    applied += (_unconstrained if above else _vanishing)(trial.observe(case))
    return applied


def _unconstrained(seen: Observation) -> int:
    for i in where(~seen.same):
        message = "a bound beyond the range of the dtype changed a slice"
        seen.fail(i, message, seen.before.rows[i])
    return 1


def _vanishing(seen: Observation) -> int:
    limit = 2 * seen.rule.upper  # type: ignore[attr-defined]
    for i in where(seen.directed & ~(seen.after.peak <= limit)):
        message = "far above a bound below the range of the dtype"
        seen.fail(i, message, f"entries of at most {limit:g}")
    return 1
