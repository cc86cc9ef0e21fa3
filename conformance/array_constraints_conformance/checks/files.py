"""FILE: slices of a file are independent, and a projected file is left alone."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.checks.shared import where
from array_constraints_conformance.counterexample import NotProvided, attempt, require, stated
from array_constraints_conformance.numerics.bits import same_bits
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case
from array_constraints_conformance.weights.neighbours import (
    BEYOND,
    IN_TURN,
    ORDINARY,
    Neighbourhood,
)


def function(trial: Trial, name: str) -> Callable[..., Any]:
    """Return a function of ``files``, or raise :class:`NotProvided`."""
    module = trial.subject.module
    if isinstance(module, ModuleType):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"{module.__name__}.files")
    found = getattr(trial.subject.function("files"), name, None)
    if found is None:
        raise stated(NotProvided(f"the files of {trial.subject.name} have no {name}"))
    return found  # type: ignore[no-any-return]


def neighbourhoods(trial: Trial) -> list[Neighbourhood]:
    """Return large weights in the formats that NumPy's files have; quickly, in two of them."""
    function(trial, "project_file")  # not provided, where there is none
    names = ("float32", "float64") if trial.profile.quick else ("float16", "float32", "float64")
    chosen = [hood for hood in trial.neighbourhoods if hood.fmt.name in names]
    return chosen or [h for h in trial.neighbourhoods if h.fmt.name != "bfloat16"]


def projected(trial: Trial, case: Case, w: np.ndarray) -> np.ndarray:
    """Return the array of a file that was projected, where the source holds ``w``."""
    with TemporaryDirectory() as folder:
        source, result = Path(folder, "weight.npy"), Path(folder, "result.npy")
        np.save(source, w)
        given = (source, result, trial.calls.constraint_of(case.rule))
        attempt(str(case.rule), function(trial, "project_file"), *given, w=w)
        found: np.ndarray = attempt(str(case.rule), np.load, result, w=w)
    shape = {"expected": f"{w.dtype} {w.shape}", "got": f"{found.dtype} {found.shape}"}
    alike = (found.shape, found.dtype) == (w.shape, w.dtype)
    require(alike, "the file holds another shape or dtype", constraint=str(case.rule), **shape)
    return found


@check("FILE-1")
def slices_of_a_file_do_not_touch_each_other(trial: Trial) -> int:
    applied = 0
    for hood in neighbourhoods(trial):
        kept, first = ~hood.chosen, _rows(trial, hood, ORDINARY)
        more = () if trial.profile.quick else ("zeros", "NaN", "infinity")
        for name in (BEYOND, IN_TURN, *more):
            case = hood.case(name)
            found = _rows(trial, hood, name)
            for i in where(kept & ~same_bits(first, found)):
                message = f"the result changed with {name} in another slice of the file"
                Observation(trial.calls, case).fail(i, message, first[i], found[i])
            applied += int(kept.sum())
    return applied


def _rows(trial: Trial, hood: Neighbourhood, name: str) -> np.ndarray:
    case = hood.case(name)
    return case.rule.slices(projected(trial, case, case.w)).rows


@check("FILE-2")
def a_file_is_projected_once(trial: Trial) -> int:
    for hood in neighbourhoods(trial):
        more = () if trial.profile.quick else (ORDINARY, "the largest numbers")
        for name in (BEYOND, *more):
            case = hood.case(name)
            once = projected(trial, case, case.w)
            twice = projected(trial, case, once)
            rows = [case.rule.slices(w).rows for w in (once, twice)]
            for i in where(~same_bits(rows[0], rows[1])):
                message = "projected again, the file changed a bit"
                Observation(trial.calls, case).fail(i, message, rows[0][i], rows[1][i])
            if case.rule.directed(case.slices, case.slices.peak == 0).all():
                _satisfied(trial, case, once)
    return len(neighbourhoods(trial))


def _satisfied(trial: Trial, case: Case, w: np.ndarray) -> None:
    with TemporaryDirectory() as folder:
        np.save(Path(folder, "result.npy"), w)
        given = (Path(folder, "result.npy"), trial.calls.constraint_of(case.rule))
        report = attempt(str(case.rule), function(trial, "check_file"), *given, w=w)
    shown = {"constraint": str(case.rule), "dtype": w.dtype.name, "input": w}
    right = getattr(report, "satisfied", None)
    message = "a file that was projected is not reported as satisfied"
    require(right, message, expected="satisfied", got=repr(right)[:100], **shown)
