"""ERR: wrong parameters and arrays raise errors of the right type, with a clear message."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import EntryRule
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.counterexample import NotProvided, attempt, require, stated
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
        for name in ("max_value", "min_value", "rate")
        for value in ("2", True, 2j)
    ),
    {"min_value": None},
    {"max_value": None},
    {"rate": None},
    {"max_value": np.ones((2, 2))},
    *({"axis": value} for value in (True, 1.0, "0", (0, True), [0.5], {"a": 1})),
]


def nonsense(trial: Trial) -> Iterator[Mistake]:
    return constructions(trial, NONSENSE, ValueError)


def wrong_types(trial: Trial) -> Iterator[Mistake]:
    yield from constructions(trial, WRONG_TYPES, TypeError)
    yield from constructions(trial, [{"axis": (0, 0)}, {"axis": [1, 1]}], ValueError)


@check("ERR-1")
def nonsense_values_are_refused(trial: Trial) -> int:
    return refuses(nonsense(trial))


@check("ERR-2")
def wrong_types_are_refused(trial: Trial) -> int:
    return refuses(wrong_types(trial))


def bad_axes(trial: Trial) -> Iterator[Mistake]:
    dtype = trial.formats[-1].dtype
    for shape, axes in (((2, 3), (2, -3, (0, 5), (1, -1))), ((), (0, -1))):
        x = trial.library.array(np.ones(shape, dtype))
        for axis in axes:
            rule = trial.rule.along(axis)
            constraint = trial.calls.constraint_of(rule)
            calls = [constraint, getattr(constraint, "violation", constraint)]
            for call in calls:
                shown = f"{rule} on shape {shape}"
                yield shown, partial(call, x), ValueError, "axis", repr(axis)


@check("ERR-3")
def an_axis_that_does_not_fit_is_refused(trial: Trial) -> int:
    return refuses(bad_axes(trial))


def bad_dtypes(trial: Trial) -> Iterator[Mistake]:
    names = ["bool", "complex64"]
    if not isinstance(trial.rule, EntryRule):
        names += ["int32", "uint8"]
    for name in names:
        x = trial.library.array(np.ones((2, 2), dtype=name))
        rule = trial.rule.along(0)
        shown = f"{rule} on {name}"
        yield shown, partial(trial.calls.constraint_of(rule), x), TypeError, name, name


@check("ERR-4")
def dtypes_are_refused(trial: Trial) -> int:
    return refuses(bad_dtypes(trial))


@check("ERR-5")
def what_is_not_an_array_is_refused(trial: Trial) -> int:
    constraint = trial.calls.constraint_of(trial.rule)
    things = {
        "a list": [[3.0], [4.0]],
        "a number": 3.0,
        "a string": "abc",
        "None": None,
        "a masked array": np.ma.ones((2, 2)),
        "a numpy.matrix": np.ones((2, 2)).view(np.matrix),
    }
    return refuses(
        (f"{trial.rule} on {name}", partial(constraint, thing), TypeError, "", "")
        for name, thing in things.items()
    )


@check("ERR-6")
def messages_name_the_parameter_and_show_the_value(trial: Trial) -> int:
    applied = 0
    for source in (nonsense, wrong_types, bad_axes, bad_dtypes):
        for shown, run, _error, name, value in source(trial):
            said = str(raised(run))
            visible = name in said and ("array" in value or _mentions(said, value))
            short = "array([" not in said and len(said) < 1000
            message = "the message does not name the parameter and show the value"
            require(
                visible and short,
                message,
                constraint=shown,
                input=shown,
                expected=f"{name}, {value}",
                got=said[:300],
            )
            applied += 1
    return applied


def _mentions(said: str, value: str) -> bool:
    loose = said.replace("(", "[").replace(")", "]").replace(",]", "]")
    return (
        value in said or value.replace("(", "[").replace(")", "]").replace(",]", "]") in loose
    )


@check("ERR-7")
def numpy_scalars_are_accepted(trial: Trial) -> int:
    make = trial.subject.function(trial.constraint)
    known = trial.definition.defaults
    applied = 0
    for given in (
        {"max_value": np.float32(0.5), "axis": np.int64(1)},
        {"max_value": np.int32(3), "axis": (np.int8(0), np.int64(1))},
        {"min_value": np.float64(0.25), "rate": np.float32(0.5)},
        {"axis": np.int16(-1)},
    ):
        usable = {k: v for k, v in given.items() if k in known}
        shown = f"{trial.constraint}({', '.join(f'{k}={v!r}' for k, v in usable.items())})"
        made = attempt(shown, partial(make, **usable))
        if not hasattr(made, "get_config"):
            raise stated(NotProvided(f"{trial.constraint} has no get_config"))
        config = attempt(shown, made.get_config)
        plain = all(_is_plain(value) for value in config.values())
        message = "the config holds no plain Python numbers"
        require(
            plain,
            message,
            constraint=shown,
            input=shown,
            expected="int and float",
            got=repr(config),
        )
        applied += 1
    return applied


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (int, float, str, bool)
