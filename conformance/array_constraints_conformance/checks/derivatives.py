"""GRAD: derivatives are finite, and those of the identity or of the rescaling."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from array_constraints_conformance.catalogue import EntryRule, NormRule, Rule
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.counterexample import attempt, require
from array_constraints_conformance.numerics.formats import Format
from array_constraints_conformance.trial.trial import Trial

W = np.asarray([0.3, -1.2, 0.5, 2.0])


def jacobian(trial: Trial, rule: Rule, w: np.ndarray) -> np.ndarray:
    """Return the Jacobian of a weight with one dimension, which is one slice."""
    run = trial.calls.map_of(rule.along(0))
    return attempt(str(rule), trial.library.jacobian, run, w, w=w).astype(float)


def points(trial: Trial, *values: np.ndarray) -> Iterator[tuple[Rule, Format, np.ndarray]]:
    for rule, fmt in trial.half(trial.pairs, len(values)):
        for value in values:
            yield rule, fmt, value.astype(fmt.dtype)


def demand(
    found: np.ndarray,
    expected: np.ndarray,
    error: float,
    rule: Rule,
    w: np.ndarray,
    message: str,
) -> None:
    """Require that a Jacobian is the expected one within ``error`` of its largest entry."""
    close = np.abs(found - expected) <= error * np.max(np.abs(expected))  # NaN is not
    details = {"constraint": str(rule), "dtype": w.dtype.name, "input": w}
    require(close.all(), message, expected=expected, got=found, **details)


def rescaling(w: np.ndarray, bound: float) -> np.ndarray:
    """Return the Jacobian of ``bound * w / norm(w)``."""
    v = w.astype(np.float64)
    unit = v / math.sqrt(math.fsum(v * v))
    norm = math.sqrt(math.fsum(v * v))
    return bound / norm * (np.eye(len(w)) - np.outer(unit, unit))


@check("GRAD-1")
def the_derivative_at_zero_is_finite(trial: Trial) -> int:
    applied = 0
    for rule, _, w in points(trial, np.zeros(4), np.asarray([0.0, -0.0, 0.0, -0.0])):
        found = jacobian(trial, rule, w)
        details = {"constraint": str(rule), "dtype": w.dtype.name, "input": w}
        message = "the derivative at zero is not finite"
        require(
            np.isfinite(found).all(), message, expected="finite numbers", got=found, **details
        )
        applied += 1
    for rule, _, w in points(trial, np.asarray([[0.0, 2.5], [0.0, -1.0]])):
        found = jacobian(trial, rule, w)
        details = {"constraint": str(rule), "dtype": w.dtype.name, "input": w}
        message = "a zero slice makes a derivative not finite"
        require(
            np.isfinite(found).all(), message, expected="finite numbers", got=found, **details
        )
        applied += 1
    return applied


@check("GRAD-2")
def it_is_the_identity_on_satisfied_slices(trial: Trial) -> int:
    applied = 0
    for rule, fmt in trial.pairs:
        for w in _satisfied(rule, fmt):
            found = jacobian(trial, rule, w)
            demand(found, np.eye(len(w)), 0.0, rule, w, "not the identity on a satisfied slice")
            applied += 1
    return applied


def _satisfied(rule: Rule, fmt: Format) -> Iterator[np.ndarray]:
    if isinstance(rule, EntryRule):
        yield np.asarray([0.0, 1.5, 2.0, -0.0]).astype(fmt.dtype)
        return
    if not isinstance(rule, NormRule) or not rule.lower < rule.upper:
        return
    unit = W / np.linalg.norm(W)
    upper = min(rule.upper, 2 * rule.lower + 2)  # of an annulus without an end, a part
    yield (unit * (rule.lower + upper) / 2).astype(fmt.dtype)
    if rule.lower == 0:
        yield np.zeros(4, fmt.dtype)
        yield (np.sign(W) * 4 * fmt.smallest).astype(fmt.dtype)
        yield (unit * math.sqrt(fmt.smallest) / 16).astype(fmt.dtype)


@check("GRAD-3")
def it_is_the_rescalings_where_a_slice_moves(trial: Trial) -> int:
    applied = 0
    for rule, fmt, w in points(trial, W, W * 4, W * 0.05):
        if not isinstance(rule, NormRule):
            continue
        norm = float(np.linalg.norm(w.astype(np.float64)))
        if rule.lower * 0.9 <= norm <= rule.upper * 1.1:
            continue
        bound = rule.upper if norm > rule.upper else rule.lower
        expected = (1 - rule.rate) * np.eye(len(w)) + rule.rate * rescaling(w, bound)
        found = jacobian(trial, rule, w)
        demand(
            found, expected, 64 * float(fmt.u), rule, w, "not the derivative of the rescaling"
        )
        applied += 1
    return applied


@check("GRAD-4")
def it_is_the_rescalings_on_unit_slices(trial: Trial) -> int:
    applied = 0
    for rule, fmt, w in points(trial, np.asarray([0.6, 0.0, -0.8, 0.0]), -np.eye(4)[1]):
        found = jacobian(trial, rule, w)
        message = "not the derivative of the rescaling on a unit slice"
        demand(found, rescaling(w, 1.0), 64 * float(fmt.u), rule, w, message)
        applied += 1
    return applied


@check("GRAD-5")
def it_is_finite_over_the_exponent_range(trial: Trial) -> int:
    applied = 0
    for rule, fmt in trial.pairs:
        for w in (*_magnitudes(rule, fmt), *_single_entries(trial, rule, fmt)):
            found = jacobian(trial, rule, w)
            details = {"constraint": str(rule), "dtype": fmt.name, "input": w}
            message = "the derivative is not finite"
            require(
                np.isfinite(found).all(),
                message,
                expected="finite numbers",
                got=found,
                **details,
            )
            applied += 1
    return applied


def _magnitudes(rule: Rule, fmt: Format) -> Iterator[np.ndarray]:
    low, high = math.log2(fmt.smallest) + 3, math.log2(fmt.largest) - 3
    for share in (1.0, 0.75, 0.5, 0.25):
        for exponent in (share * low, share * high):
            w = (W * 2.0**exponent).astype(fmt.dtype)
            if _representable(rule, w, fmt):
                yield w


def _single_entries(trial: Trial, rule: Rule, fmt: Format) -> Iterator[np.ndarray]:
    """Yield slices of one entry: their Jacobian is 0 or 1 - rate at every magnitude."""
    if isinstance(rule, NormRule):
        subnormal = 0 if trial.library.flushes(fmt.name) else fmt.digits - 1
        low = math.log2(fmt.smallest)
        for exponent in (low - subnormal, low, low / 2, -low / 2):
            yield np.asarray([2.0**exponent]).astype(fmt.dtype)


def _representable(rule: Rule, w: np.ndarray, fmt: Format) -> bool:
    if not isinstance(rule, NormRule):
        return False
    norm = float(np.linalg.norm(w.astype(np.float64) / w.astype(np.float64).max())) * float(
        w.max()
    )
    bound = rule.upper if norm > rule.upper else max(rule.lower, 0.0)
    return bound / norm < fmt.largest / 16
