"""LAZY: nothing is computed early, and traced calls give the eager result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.checks.shared import agrees
from array_constraints_conformance.counterexample import attempt, require
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case


def samples(trial: Trial) -> list[Case]:
    """Return a weight of ordinary values for each dtype and rule, in the shape of a sample."""
    rng, found = np.random.default_rng(trial.seed), []
    for rule, fmt in trial.pairs:
        case = trial.sample(rule, fmt)[0]
        spread = np.resize([3, 0.3, 1, 0.01], case.w.shape)
        w = rng.standard_normal(case.w.shape) * spread
        found.append(Case(w.astype(fmt.dtype), case.rule))
    return found


def shown(case: Case) -> dict[str, Any]:
    return {"constraint": str(case.rule), "dtype": case.w.dtype.name, "input": case.w}


def stays_lazy(trial: Trial, case: Case, run: Callable[[Any], Any], what: str) -> None:
    """Require a lazy array of ``run``, without anything being computed."""
    lazy = trial.library
    x = lazy.array(case.w)
    with lazy.nothing_computed():  # type: ignore[attr-defined]
        result = attempt(str(case.rule), run, x, w=case.w)
    types = {"expected": lazy.type_of(x), "got": lazy.type_of(result)}
    require(lazy.is_own(result), f"{what} is not lazy", **types, **shown(case))


@check("LAZY-1")
def nothing_is_computed(trial: Trial) -> int:
    for case in samples(trial):
        stays_lazy(trial, case, trial.calls.map_of(case.rule), "the result")
    return len(samples(trial))


@check("LAZY-2")
def chunks_and_meta_are_kept(trial: Trial) -> int:
    for case in samples(trial):
        x = trial.library.array(case.w)
        result = trial.calls.call(case.rule, x)
        for name in ("chunks", "dtype"):
            before, after = getattr(x, name), getattr(result, name)
            require(
                before == after, f"{name} changed", expected=before, got=after, **shown(case)
            )
        before, after = (f"{type(y._meta).__name__} of {y._meta.dtype}" for y in (x, result))
        require(
            before == after, "the meta array changed", expected=before, got=after, **shown(case)
        )
    return len(samples(trial))


@check("LAZY-3")
def the_violation_is_lazy_too(trial: Trial) -> int:
    for case in samples(trial):
        stays_lazy(trial, case, trial.calls.method(case.rule, "violation"), "the violation")
    return len(samples(trial))


@check("LAZY-4")
def a_traced_call_gives_the_eager_result(trial: Trial) -> int:
    applied = 0
    for case in samples(trial):
        seen = trial.observe(case)
        constraint, x = trial.calls.constraint_of(case.rule), trial.library.array(case.w)
        result = attempt(str(case.rule), trial.library.traced, constraint, x, w=case.w)
        rows = seen.slices(trial.library.numpy(result)).rows
        applied += agrees(seen, rows, "the traced call gives another result")
    return applied


@check("LAZY-5")
def a_mapped_call_gives_the_stacked_result(trial: Trial) -> int:
    applied = 0
    for case in trial.half(samples(trial), len(trial.constraint) + 1):
        others = [case.w, case.w[::-1].copy(), case.w * 2]
        stack, constraint = (
            trial.library.array(np.stack(others)),
            trial.calls.constraint_of(case.rule),
        )
        mapped = attempt(str(case.rule), trial.library.mapped, constraint, stack, w=case.w)
        found = trial.library.numpy(mapped)
        for w, image in zip(others, found, strict=True):
            seen = trial.observe(Case(w, case.rule))
            rows = seen.slices(image).rows
            applied += agrees(seen, rows, "the mapped call gives another result")
    return applied


@check("LAZY-6")
def functions_of_the_standard_suffice(trial: Trial) -> int:
    applied = 0
    for case in samples(trial):
        seen = trial.observe(case)
        with trial.library.bare():  # type: ignore[attr-defined]
            result = trial.calls.call(case.rule, trial.library.array(case.w))
        rows = seen.slices(trial.library.numpy(result)).rows
        applied += agrees(seen, rows, "with fewer functions, another result")
    return applied
