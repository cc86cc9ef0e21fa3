"""Mistakes: wrong parameters and arrays, each with the error that it is to raise."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import KERAS, combined
from array_constraints_conformance.counterexample import require
from array_constraints_conformance.trial.trial import Trial

Mistake = tuple[str, Callable[[], Any], type[Exception], str, str]


def raised(run: Callable[[], Any]) -> Exception | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
    except Exception as error:
        return error
    return None


def refuses(mistakes: Iterator[Mistake]) -> int:
    """Require an error of the right type for each mistake."""
    applied = 0
    for shown, run, expected, _name, _value in mistakes:
        error = raised(run)
        got = "no error" if error is None else f"{type(error).__name__}: {error}"[:300]
        right = isinstance(error, expected)
        message = f"{shown} is accepted" if error is None else f"{shown} raises another error"
        require(
            right, message, constraint=shown, input=shown, expected=expected.__name__, got=got
        )
        applied += 1
    return applied


def constructions(
    trial: Trial, wrong: list[dict[str, Any]], error: type[Exception]
) -> Iterator[Mistake]:
    """Yield the construction with each set of arguments that the constraint has."""
    make = trial.subject.function(trial.constraint)
    known = trial.definition.defaults
    for given in wrong:
        if set(given) <= set(known):
            shown = f"{trial.constraint}({', '.join(f'{k}={v!r}' for k, v in given.items())})"
            name, value = next(iter(given.items()))
            yield shown, partial(make, **given), error, name, repr(value)


NONSENSE: list[dict[str, Any]] = [
    {"max_value": -1},
    {"max_value": -0.5},
    {"max_value": math.nan},
    {"max_value": -math.inf},
    {"min_value": -1.0},
    {"min_value": math.nan},
    {"min_value": math.inf, "max_value": math.inf},
    {"min_value": 2.0, "max_value": 1.0},
    {"rate": -0.1},
    {"rate": 1.5},
    {"rate": math.nan},
]
WRONG_TYPES: list[dict[str, Any]] = [
    *(
        {name: value}
        for name in ("max_value", "min_value", "rate", "radius")
        for value in ("2", True, 2j)
    ),
    {"min_value": None},
    {"max_value": None},
    {"rate": None},
    {"radius": None},
    {"max_value": np.ones((2, 2))},
    *({"axis": value} for value in (True, 1.0, "0", (0, True), [0.5], {"a": 1})),
]


_MEMBER = combined.config("NonNeg")

# Of the further sets: wrong values, a ValueError, and wrong types, a TypeError. The parameter
# named first is the one that the message names.
WRONG_VALUES: dict[str, list[dict[str, Any]]] = {
    "Box": [
        {"min_value": 2.0, "max_value": 1.0},
        {"min_value": math.nan},
        {"max_value": math.nan},
    ],
    "Mask": [{"mask": [[True], [True, False]]}],
    "Triangular": [{"part": "left"}, {"axis": (0, 0)}, {"axis": (0,)}, {"axis": (0, 1, 2)}],
    "Banded": [{"lower": -1}, {"upper": -2}, {"axis": (1, 1)}],
    "NMSparse": [{"n": 0}, {"n": 5}, {"m": 0, "n": 0}, {"n": -1}],
    "Sphere": [{"radius": -1.0}, {"radius": math.nan}, {"radius": math.inf}, {"unit": "cm"}],
    "Sparse": [{"k": -1}, {"density": 1.5}, {"density": math.nan}, {"k": 1, "density": 0.5}],
    "Mean": [{"value": math.nan}, {"value": math.inf}],
    "Sum": [{"total": math.nan}, {"total": -math.inf}],
    "Standardized": [{"axis": (0, 0)}],
    "Simplex": [{"total": 0.0}, {"total": -1.0}, {"total": math.nan}, {"total": math.inf}],
    "L1Ball": [{"radius": -1.0}, {"radius": math.nan}],
    "Monotone": [{"axis": (1, 1)}],
    "Halfspace": [
        {"normal": (1.0, math.nan)},
        {"normal": (0.0, 0.0)},
        {"normal": 0.0},
        {"bound": math.nan, "normal": 1.0},
    ],
    "Hyperplane": [
        {"normal": (1.0, math.inf)},
        {"normal": (0.0, 0.0)},
        {"value": math.inf, "normal": 1.0},
    ],
    "Chain": [{"constraints": []}],
    "Relaxed": [
        {"rate": 1.5, "constraint": _MEMBER},
        {"rate": math.nan, "constraint": _MEMBER},
    ],
    "Blocks": [
        {"size": 0, "constraint": _MEMBER},
        {"size": None, "constraint": _MEMBER},
        {"size": 2, "sizes": [1, 1], "constraint": _MEMBER},
        {"sizes": [2, 0], "constraint": _MEMBER},
    ],
}
TYPES_OF_FURTHER: dict[str, list[dict[str, Any]]] = {
    "Box": [{"min_value": "0"}, {"max_value": None}, {"min_value": True}, {"max_value": 2j}],
    "Mask": [{"mask": [0.5, 1.0]}, {"mask": None}],
    "Triangular": [{"part": 1}, {"offset": 0.5}, {"offset": True}, {"axis": 0}, {"axis": None}],
    "Banded": [{"lower": 0.5}, {"upper": "1"}, {"axis": 0}, {"lower": True}],
    "NMSparse": [{"n": 2.0}, {"m": "4"}, {"n": True}, {"axis": None}, {"axis": (0, 1)}],
    "Sphere": [{"radius": None}, {"unit": 2}, {"axis": "0"}],
    "Sparse": [{"k": 2.0}, {"k": True}, {"density": "1"}, {"axis": 1.0, "k": 1}],
    "Mean": [{"value": "0"}, {"value": True}, {"value": None}, {"axis": 1.0}],
    "Sum": [{"total": "1"}, {"total": False}, {"axis": 1.0}],
    "Standardized": [{"axis": True}, {"axis": 0.0}],
    "Simplex": [{"total": "1"}, {"total": True}, {"total": None}, {"axis": 1.0}],
    "L1Ball": [{"radius": None}, {"radius": False}, {"axis": "0"}],
    "Monotone": [{"increasing": 1}, {"increasing": "up"}, {"increasing": None}, {"axis": 0.5}],
    "Halfspace": [{"normal": "1"}, {"normal": None}, {"bound": "0", "normal": 1.0}],
    "Hyperplane": [{"normal": True}, {"value": None, "normal": 1.0}],
    "Chain": [{"constraints": 3}],
    "Relaxed": [{"rate": "1", "constraint": _MEMBER}, {"constraint": 2.5}],
    "Blocks": [{"size": 1.5, "constraint": _MEMBER}, {"sizes": 4, "constraint": _MEMBER}],
}


def wrong_parameters(trial: Trial) -> Iterator[Mistake]:
    """Yield the mistakes in the parameters of a further set."""
    yield from constructions(trial, WRONG_VALUES.get(trial.constraint, []), ValueError)
    yield from constructions(trial, TYPES_OF_FURTHER.get(trial.constraint, []), TypeError)


def bad_shapes(trial: Trial) -> Iterator[Mistake]:
    """Yield calls, and violations, of weights whose shape or dtype a constraint cannot take."""
    single: dict[str, Any] = {
        "normal": (1.0, 2.0),
        "mask": [[True, False, True]],
        "constraint": _MEMBER,
        "size": 4,
    }
    shapes: dict[str, list[tuple[dict[str, Any], tuple[int, ...]]]] = {
        "Mask": [({}, (3,)), ({}, (2, 2)), ({}, (1, 1, 3))],
        "Triangular": [({}, (3,)), ({}, ()), ({"axis": (0, 2)}, (2, 2))],
        "Banded": [({}, (3,)), ({"axis": (-3, 0)}, (2, 2)), ({"axis": (0, -2)}, (2, 2))],
        "NMSparse": [({}, (2, 6)), ({"axis": 1}, (4,)), ({}, ())],
        "Blocks": [({}, (6,)), ({"axis": 1}, (4,)), ({}, ())],
        "Monotone": [({"axis": None}, (2, 2)), ({"axis": (0, 1)}, (2, 2))],
        "Halfspace": [({}, (3, 2)), ({"axis": None}, (2, 2))],
        "Hyperplane": [({}, (3, 2)), ({"axis": None}, (2, 2))],
        "Box": [({"min_value": 1 + 2.0**-30, "max_value": 1 + 2.0**-29}, (2, 2))],
    }
    make = trial.subject.function(trial.constraint)
    for arguments, shape in shapes.get(trial.constraint, []):
        given = {k: v for k, v in single.items() if k in trial.definition.defaults} | arguments
        constraint = make(**given)
        x = trial.library.array(np.ones(shape, trial.formats[0].dtype))
        if trial.constraint == "Box" and trial.formats[0].digits > 24:
            continue  # the narrowest format has numbers between these bounds
        for call in (constraint, getattr(constraint, "violation", constraint)):
            shown = f"{trial.constraint}({given}) on shape {shape}"
            yield shown, partial(call, x), ValueError, "", ""


def nonsense(trial: Trial) -> Iterator[Mistake]:
    return constructions(trial, NONSENSE if trial.constraint in KERAS else [], ValueError)


def wrong_types(trial: Trial) -> Iterator[Mistake]:
    if "norm constraints" not in trial.rule.traits:
        return
    yield from constructions(trial, WRONG_TYPES, TypeError)
    yield from constructions(trial, [{"axis": (0, 0)}, {"axis": [1, 1]}], ValueError)


def bad_axes(trial: Trial) -> Iterator[Mistake]:
    dtype = trial.formats[-1].dtype
    if "sliced constraints" not in trial.rule.traits:
        return
    for shape, axes in (((2, 3), (2, -3, (0, 5), (1, -1))), ((), (0, -1))):
        x = trial.library.array(np.ones(shape, dtype))
        for axis in axes:
            rule = trial.rule.along(axis)
            constraint = trial.calls.constraint_of(rule)
            calls = [constraint, getattr(constraint, "violation", constraint)]
            for call in calls:
                shown = f"{rule} on shape {shape}"
                yield shown, partial(call, x), ValueError, "axis", repr(axis)


def bad_dtypes(trial: Trial) -> Iterator[Mistake]:
    names = ["bool", "complex64"]
    if "sets of integers" not in trial.rule.traits:
        names += ["int32", "uint8"]
    for name in names:
        x = trial.library.array(np.ones((4, 4), dtype=name))
        rule = trial.rule.along(0).placed((4, 4))
        shown = f"{rule} on {name}"
        yield shown, partial(trial.calls.constraint_of(rule), x), TypeError, name, name
