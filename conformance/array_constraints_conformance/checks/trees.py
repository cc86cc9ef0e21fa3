"""CALL-6: ``apply`` treats each of many weights as a call of its own does."""

from __future__ import annotations

from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import Rule
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.checks.shared import where
from array_constraints_conformance.counterexample import attempt, require
from array_constraints_conformance.numerics.bits import same_bits
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case
from array_constraints_conformance.weights.neighbours import alike

_KINDS = (list, tuple)


@check("CALL-6")
def apply_treats_each_weight_as_a_call_of_its_own(trial: Trial) -> int:
    applied = 0
    trial.subject.function("apply")
    definition = trial.definition
    few = trial.samples_a_third  # JAX compiles each weight of a call
    for turn, fmt in enumerate(trial.formats[:1] if few else trial.formats):
        seed, number = trial.seed, 3 if few else 20
        rule, weights = alike(definition, trial.known, fmt, seed, turn, number)
        alone, spoiled = [_alone(trial, Case(w, rule)) for w in weights], number // 2
        for what, w in _anything(weights[spoiled], trial.slow).items():
            given, own = list(weights), list(alone)
            given[spoiled], own[spoiled] = w, _alone(trial, Case(w, rule))
            for w, expected, found in zip(
                given, own, _applied(trial, rule, given), strict=True
            ):
                _same(Case(w, rule), trial, expected, found, what)
            applied += len(given)
        _containers(trial, rule, weights, alone)
    return applied


def _anything(w: np.ndarray, few: bool) -> dict[str, np.ndarray]:
    """Return a weight, and copies with special numbers, by the name of what they hold."""
    largest = np.finfo(np.float32).max if w.dtype.itemsize > 2 else 60000.0
    found = {"ordinary numbers": w}
    values = [("infinity", np.inf), ("NaN", np.nan), ("huge numbers", largest)]
    for name, value in values[:1] if few else values:
        spoiled = w.copy()
        spoiled[1, 1] = value
        found[f"{name} in another weight"] = spoiled
    return found


def _alone(trial: Trial, case: Case) -> np.ndarray:
    constraint, x = trial.calls.constraint_of(case.rule), trial.library.array(case.w)
    return trial.calls.result(case, attempt(str(case.rule), constraint, x))


def _applied(trial: Trial, rule: Rule, weights: list[np.ndarray]) -> list[np.ndarray]:
    arrays = [trial.library.array(w) for w in weights]
    found = _apply(trial, rule, arrays)
    require(
        isinstance(found, list) and len(found) == len(weights),
        "apply does not return a list of as many weights",
        constraint=str(rule),
        expected=f"a list of {len(weights)}",
        got=f"{type(found).__name__}",
    )
    return [trial.calls.result(Case(w, rule), x) for w, x in zip(weights, found, strict=True)]


def _apply(trial: Trial, rule: Rule, weights: Any) -> Any:
    apply, constraint = trial.subject.function("apply"), trial.calls.constraint_of(rule)
    return attempt(f"apply({rule}, ...)", apply, constraint, weights)


def _same(case: Case, trial: Trial, expected: np.ndarray, found: Any, what: str) -> None:
    shapes = {"expected": str(expected.shape), "got": str(getattr(found, "shape", None))}
    alike = isinstance(found, np.ndarray) and found.shape == expected.shape
    require(alike, "apply changes the shape", constraint=str(case.rule), **shapes)
    one, other = (case.rule.slices(image).rows for image in (expected, found))
    for i in where(~same_bits(one, other)):
        message = f"apply gives another result than a call, beside {what}"
        Observation(trial.calls, case).fail(i, message, one[i], other[i])


def _containers(
    trial: Trial, rule: Rule, weights: list[np.ndarray], alone: list[np.ndarray]
) -> None:
    """Require that dictionaries, lists and tuples come back as such."""
    a, b, *others = (trial.library.array(w) for w in weights)  # as many as in the list
    found = _apply(trial, rule, {"a": a, "b": [b, tuple(others)]})
    match found:
        case {"a": x, "b": [y, [*z] as last] as both} if (type(both), type(last)) == _KINDS:
            for w, own, image in zip(weights, alone, (x, y, *z), strict=True):
                got = trial.calls.result(Case(w, rule), image)
                _same(Case(w, rule), trial, own, got, "others in a dictionary")
        case _:
            message = "apply does not return the containers that it was given"
            shape = "{'a': ..., 'b': [..., (...,)]}"
            require(False, message, constraint=str(rule), expected=shape, got=str(type(found)))
