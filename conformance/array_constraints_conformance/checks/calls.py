"""CALL: the argument ``copy``: new arrays, arrays written in place, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np

from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.checks.shared import agrees, where
from array_constraints_conformance.counterexample import Raised, attempt, require
from array_constraints_conformance.numerics.bits import same_bits
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case


def cases(trial: Trial) -> list[Case]:
    trial.calls.accepts(trial.rule, "copy")
    return list(trial.samples)


def same_as_default(trial: Trial, case: Case, x: Any, result: Any, message: str) -> None:
    """Require the bits of the call without copy, which is not compiled either."""
    plain = attempt(str(case.rule), trial.calls.constraint_of(case.rule), x, w=case.w)
    expected, got = (case.rule.slices(trial.library.numpy(y)).rows for y in (plain, result))
    for i in where(~same_bits(expected, got)):
        shown = {"constraint": str(case.rule), "dtype": case.w.dtype.name}
        row = case.slices.rows[i]
        require(False, message, input=row, expected=expected[i], got=got[i], **shown)


def unchanged(trial: Trial) -> list[Case]:
    """Return weights that no call changes: zeros, empty weights, and any with a rate of 0.

    They have the shapes of the samples, whose calls are compiled anyway.
    """
    samples = cases(trial)
    shapes = [Case(w, case.rule) for case in samples for w in (case.w, case.w[..., :0])]
    found = [Case(np.zeros_like(case.w), case.rule) for case in shapes]
    if "rate" in trial.definition.defaults:
        still = trial.definition.with_arguments({"rate": 0.0})
        found += [Case(case.w, still.along(case.rule.axis)) for case in shapes]
    if "sets of integers" in trial.rule.traits:
        found.append(Case(np.ones((3, 2), np.uint8), trial.rule))
    return [
        Case(case.w, placed)
        for case in found
        if (placed := case.rule.placed(case.w.shape)).suits(case.w.shape)
    ]


@check("CALL-1")
def copy_true_returns_a_new_array(trial: Trial) -> int:
    found = [*unchanged(trial), *cases(trial)]
    for case in found:
        x = trial.library.array(case.w)
        result = trial.calls.call(case.rule, x, copy=True)
        shared = result is x or trial.library.shares_memory(result, x)
        shown = {"constraint": str(case.rule), "dtype": case.w.dtype.name, "input": case.w}
        message = "copy=True returned the weight, or a view of it"
        require(not shared, message, expected="a new array", got="the weight", **shown)
        same_as_default(trial, case, x, result, "copy=True gives other bits than the default")
    return len(found)


@check("CALL-2")
def copy_false_writes_into_the_weight(trial: Trial) -> int:
    applied = 0
    for case in cases(trial):
        arrays = {"C order": trial.library.array(case.w)}
        if "strided" in trial.library.traits:
            arrays |= trial.library.layouts(case.w)
        for name, x in arrays.items():
            seen = trial.observe(case)
            result = trial.calls.call(case.rule, x, copy=False)
            if result is not x:
                seen.fail(
                    None, f"copy=False did not return the weight ({name})", "the weight", ""
                )
            rows = seen.slices(trial.library.numpy(x)).rows
            applied += agrees(seen, rows, f"copy=False wrote another result ({name})")
    return applied + _nothing_beside(trial)


def _nothing_beside(trial: Trial) -> int:
    """Require that a call on a window of an array writes there and nowhere else."""
    rule = trial.rule.along(0).placed((4, 2))
    for fmt in trial.formats:
        around = (np.random.default_rng(trial.seed).standard_normal((7, 5)) * 3).astype(
            fmt.dtype
        )
        x = trial.library.array(around)
        trial.calls.call(rule, x[1:5, 1:3], copy=False)
        after = trial.library.numpy(x).copy()
        seen = trial.observe(Case(around[1:5, 1:3].copy(), rule))
        window = seen.slices(after[1:5, 1:3].copy()).rows
        agrees(
            seen, window, "copy=False did not write into the array that the weight is a view of"
        )
        after[1:5, 1:3] = around[1:5, 1:3]
        untouched = same_bits(around, after).all()
        shown = {"constraint": str(rule), "dtype": fmt.name, "input": around}
        message = "copy=False wrote beside the weight"
        require(
            untouched, message, expected="a change in w[1:5, 1:3] alone", got=after, **shown
        )
    return len(trial.formats)


@check("CALL-3")
def copy_false_is_refused_where_it_cannot_be_done(trial: Trial) -> int:
    applied = 0
    for case in cases(trial):
        w = np.full(case.w.shape, -3.0).astype(case.w.dtype)
        for name, x in trial.library.unwritable(w).items():
            before = trial.library.numpy(x).copy()
            refused(trial, case, x, ValueError, f"copy=False wrote into {name}", copy=False)
            after = trial.library.numpy(x)
            same = same_bits(before.reshape(1, -1), after.reshape(1, -1)).all()
            shown = {"constraint": str(case.rule), "dtype": case.w.dtype.name, "input": before}
            require(same, f"{name} was changed", expected=before, got=after, **shown)
            applied += 1
    return applied


@check("CALL-4")
def copy_is_none_true_or_false(trial: Trial) -> int:
    applied = 0
    for case in cases(trial):
        for wrong in (1, 0, "yes", np.True_):
            x = trial.library.array(case.w)
            refused(trial, case, x, TypeError, f"copy={wrong!r} was accepted", copy=wrong)
            applied += 1
    return applied


def refused(
    trial: Trial, case: Case, x: object, error: type[Exception], message: str, **options: object
) -> None:
    """Require that a call raises an error of this type."""
    details = {"constraint": str(case.rule), "dtype": case.w.dtype.name, "input": case.w}
    try:
        trial.calls.call(case.rule, x, **options)
    except Raised as raised:
        got = f"{type(raised.error).__name__}: {raised.error}"
        right = isinstance(raised.error, error)
        require(right, message, expected=error.__name__, got=got[:300], **details)
    else:
        require(False, message, expected=error.__name__, got="no error", **details)


@check("CALL-5")
def the_default_is_copy_none(trial: Trial) -> int:
    for case in cases(trial):
        x = trial.library.array(case.w)
        result = trial.calls.call(case.rule, x, copy=None)
        same_as_default(
            trial, case, trial.library.array(case.w), result, "copy=None gives other bits"
        )
        before, after = case.w.reshape(1, -1), trial.library.numpy(x).reshape(1, -1)
        shown = {"constraint": str(case.rule), "dtype": case.w.dtype.name, "input": case.w}
        untouched = same_bits(before, after).all()
        require(untouched, "copy=None modified the weight", expected=before, got=after, **shown)
    return len(cases(trial))
