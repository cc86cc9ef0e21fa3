"""GRAD: derivatives are finite, and those of the identity or of the rescaling."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from array_constraints_conformance.catalogue import KnownRule, NormRule, Rule
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.counterexample import attempt, require
from array_constraints_conformance.numerics.formats import Format
from array_constraints_conformance.trial.trial import Trial

W = np.asarray([0.3, -1.2, 0.5, 2.0])


def jacobian(trial: Trial, rule: Rule, w: np.ndarray) -> np.ndarray:
    """Return the Jacobian of a weight, whose entries are taken in C order."""
    run = trial.calls.map_of(rule)
    found = attempt(str(rule), trial.library.jacobian, run, w, w=w).astype(float)
    return found.reshape(w.size, w.size)


def shaped(rule: Rule, w: np.ndarray) -> tuple[Rule, np.ndarray] | None:
    """Return the rule along the first axis, and the entries in a shape that suits it."""
    for shape in (w.shape, (2, 2), (4, 1)):
        placed = rule.along(0).placed(shape)
        if w.size == math.prod(shape) and placed.suits(shape):
            return placed, w.reshape(shape)
    return None


def points(trial: Trial, *values: np.ndarray) -> Iterator[tuple[Rule, Format, np.ndarray]]:
    for rule, fmt in trial.half(trial.pairs, len(values)):
        for value in values:
            found = shaped(rule, value.astype(fmt.dtype))
            if found is not None:
                yield found[0], fmt, found[1]


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
        for values in rule.satisfied(fmt):
            found = shaped(rule, values)
            if found is not None:
                placed, w = found
                message = "not the identity on a satisfied slice"
                demand(jacobian(trial, placed, w), np.eye(w.size), 0.0, placed, w, message)
                applied += 1
    return applied


@check("GRAD-3")
def it_is_the_rescalings_where_a_slice_moves(trial: Trial) -> int:
    applied = 0
    for rule, fmt, w in points(trial, W, W * 4, W * 0.05):
        expected = rule.jacobian(w) if isinstance(rule, NormRule) else None
        if expected is not None:
            message = "not the derivative of the rescaling"
            demand(jacobian(trial, rule, w), expected, 64 * float(fmt.u), rule, w, message)
            applied += 1
    return applied


@check("GRAD-4")
def it_is_the_rescalings_on_unit_slices(trial: Trial) -> int:
    applied = 0
    unit = np.asarray([0.6, 0.0, -0.8, 0.0]), -np.eye(4)[1]
    for rule, fmt in trial.half(trial.pairs, len(unit)):
        for direction in unit if isinstance(rule, NormRule) else ():
            w = (direction * float(rule.limits(4)[0])).astype(fmt.dtype)
            placed = rule.along(0)
            found = jacobian(trial, placed, w)
            message = "not the derivative of the rescaling on a unit slice"
            expected = placed.rescaling(w, placed.lower)
            demand(found, expected, 64 * float(fmt.u), placed, w, message)
            applied += 1
    return applied


@check("GRAD-5")
def it_is_finite_over_the_exponent_range(trial: Trial) -> int:
    applied = 0
    for rule, fmt in trial.pairs:
        for w in (*_magnitudes(rule, fmt), *_single_entries(trial, rule, fmt)):
            found = jacobian(trial, rule.along(0), w)
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
    peak = float(w.max())
    norm = rule.size_of(w.astype(np.float64) / peak) * peak
    bound = rule.upper if norm > rule.upper else max(rule.lower, 0.0)
    return bound / norm < fmt.largest / 16


@check("GRAD-6")
def it_is_the_derivative_of_the_projection(trial: Trial) -> int:
    applied = 0
    for rule, fmt, w in points(trial, W, W * 4, -W, W * 0.05):
        applied += _projected(trial, rule, fmt, w)
    for rule, fmt in trial.half(trial.pairs, 1):
        if isinstance(rule, KnownRule) and "equations" in rule.traits:  # satisfied already
            on = rule.nearby(np.random.default_rng(trial.seed), 1, 4, fmt)[0]
            applied += _projected(trial, rule.along(0).placed((4,)), fmt, on)
    return applied


def _projected(trial: Trial, rule: Rule, fmt: Format, w: np.ndarray) -> int:
    expected = rule.jacobian(w) if isinstance(rule, KnownRule) else None
    if expected is None:
        return 0
    error = 0.0 if rule.exact else 64 * float(fmt.u)
    message = "not the derivative of the projection"
    demand(jacobian(trial, rule, w), expected, error, rule, w, message)
    return 1
