"""VIO: ``violation`` measures the distance of each slice to the allowed set."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import ml_dtypes
import numpy as np

from array_constraints_conformance.catalogue import ExactRule
from array_constraints_conformance.checks.beside import beside_anything
from array_constraints_conformance.checks.registry import check, law
from array_constraints_conformance.checks.shared import known, where
from array_constraints_conformance.numerics.bits import relative, same_bits, same_values
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial


def per_slice(seen: Observation, violation: np.ndarray) -> np.ndarray:
    """Return one violation for each slice, or fail where there are more or fewer."""
    rule = known(seen)
    expected = math.prod(rule.violation_shape(seen.w.shape))
    if violation.size != expected:
        message = "there is not one violation for each slice"
        seen.fail(None, message, expected, violation.size)
    return rule.per_slice(violation, seen.w.shape)


def allowed(seen: Observation) -> np.ndarray:
    """Return which slices are allowed by more than the band, or which entries are allowed."""
    if isinstance(seen.rule, ExactRule):
        return seen.rule.away_rows(seen.before) == 0
    return seen.interior


@law("VIO-1")
def the_violation_is_the_distance(seen: Observation) -> int:
    found = per_slice(seen, seen.violation)
    if isinstance(seen.rule, ExactRule) and seen.rule.by_entry:
        return _distances(seen, seen.rule)
    dtype = str(seen.violation.dtype)
    largest = FORMATS[dtype].largest if dtype in FORMATS else sys.float_info.max
    for i in where(seen.directed):
        _distance(seen, i, float(found[i]), largest)
    return int(seen.directed.sum())


def _distances(seen: Observation, rule: ExactRule) -> int:
    """Require the distance of each entry, whatever the slices are."""
    found = seen.violation.astype(np.float64)
    exact, error = rule.away(seen.w), rule.rounding(seen.w, seen.fmt)
    chosen = np.isfinite(seen.w.astype(np.float64)) & np.isfinite(exact)
    if seen.flushes:
        chosen &= np.abs(seen.w.astype(np.float64)) >= seen.fmt.smallest
    with np.errstate(invalid="ignore"):
        wrong = chosen & ~((np.abs(found - exact) <= error) & ((found == 0) == (exact == 0)))
    for i in np.flatnonzero(wrong.reshape(-1))[:1]:
        entry, away, got = (x.reshape(-1)[i] for x in (seen.w, exact, found))
        message = f"not the distance to what is allowed, of the entry {float(entry)!r}"
        seen.fail(None, message, float(away), float(got))
    return int(chosen.sum())


def _distance(seen: Observation, i: int, found: float, largest: float) -> None:
    rule = known(seen)
    exact = rule.distance(seen.before, i)
    allowed_error = rule.violation_error(seen.before, i, seen.fmt, seen.underflow)
    if math.isnan(found):
        seen.fail(i, "the violation is NaN", relative(exact), found)
    if math.isinf(found):
        if rule.size(seen.before, i) < Fraction(largest) * Fraction(999, 1000):
            seen.fail(i, "the violation is infinite", relative(exact), found)
    elif abs(Fraction(found) - exact) > allowed_error:
        seen.fail(i, f"the violation is {found!r}", relative(exact), repr(found))


@law("VIO-2")
def it_is_zero_where_the_rule_holds(seen: Observation) -> int:
    found, chosen = per_slice(seen, seen.violation), allowed(seen)
    for i in where(chosen & (found != 0)):
        seen.fail(i, "an allowed slice has a violation", 0.0, found[i])
    return int(chosen.sum())


@law("VIO-3", close=True)
def it_is_zero_on_every_result(seen: Observation) -> int:
    found = per_slice(seen, seen.remaining)
    chosen = seen.directed & ~(seen.flushes & (seen.after.peak < seen.fmt.smallest))
    if seen.rule.exact:
        chosen = seen.before.finite
    for i in where(chosen & (found != 0)):
        message = "the result has a violation"
        seen.fail(i, message, f"0 at the result {seen.after.rows[i].tolist()[:8]}", found[i])
    return int(chosen.sum())


@law("VIO-4")
def it_is_nan_for_nan_and_infinite_for_infinity(seen: Observation) -> int:
    found = per_slice(seen, seen.violation)
    holes = np.isnan(seen.before.values).any(axis=1)
    infinite = known(seen).infinitely_far(seen.before) & ~holes
    for i in where(holes & ~np.isnan(found)):
        seen.fail(i, "a slice with NaN has a violation", "nan", found[i])
    for i in where(infinite & (found != math.inf)):
        seen.fail(i, "a slice with an infinity has a violation", "inf", found[i])
    return int((holes | infinite).sum())


@law("VIO-5")
def it_keeps_the_sliced_dimensions(seen: Observation) -> int:
    shape = known(seen).violation_shape(seen.w.shape)
    if seen.violation.shape != shape:
        seen.fail(None, "the violation has another shape", shape, seen.violation.shape)
    dtype = seen.violation.dtype
    real = dtype.kind == "f" or dtype.name == "bfloat16"
    if not real or ml_dtypes.finfo(dtype).nmant < ml_dtypes.finfo(seen.w.dtype).nmant:
        seen.fail(
            None, "the dtype of the violation is too narrow", seen.w.dtype.name, dtype.name
        )
    return 1


@law("VIO-6")
def it_reports_zero_slices(seen: Observation) -> int:
    found, rule = per_slice(seen, seen.violation), known(seen)
    chosen = where(rule.undirected(seen.before))
    for i in chosen:
        expected = rule.distance(seen.before, i)
        if not abs(found[i] - float(expected)) <= float(seen.fmt.u * expected):
            what = "zero" if seen.before.peak[i] == 0 else "constant"
            seen.fail(i, f"the violation of a {what} slice", float(expected), found[i])
    return len(chosen)


@check("VIO-7")
def it_does_not_depend_on_other_slices(trial: Trial) -> int:
    def compare(seen: Observation, other: Observation, chosen: np.ndarray, what: str) -> None:
        before, after = per_slice(seen, seen.violation), per_slice(other, other.violation)
        same = same_bits(before.reshape(-1, 1), after.reshape(-1, 1))
        for i in where(chosen & ~same):
            message = f"the violation changed with {what} in another slice"
            other.fail(i, message, before[i], after[i])

    return beside_anything(trial, compare)


@law("VIO-8", close=True)
def it_is_zero_exactly_where_a_slice_is_kept(seen: Observation) -> int:
    found, chosen = per_slice(seen, seen.violation), seen.directed & ~seen.flushed
    kept = same_values(seen.before.rows, seen.after.rows)
    for i in where(chosen & kept & (found != 0)):
        seen.fail(i, "a slice that is kept has a violation", 0.0, found[i])
    for i in where(chosen & ~kept & (found == 0)):
        seen.fail(i, "a slice without a violation was changed", seen.before.rows[i])
    return int(chosen.sum())
