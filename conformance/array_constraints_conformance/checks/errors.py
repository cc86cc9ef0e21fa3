"""ERR: wrong parameters and arrays raise errors of the right type, with a clear message."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import combined
from array_constraints_conformance.checks.mistakes import (
    bad_axes,
    bad_dtypes,
    bad_shapes,
    nonsense,
    raised,
    refuses,
    wrong_parameters,
    wrong_types,
)
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.counterexample import NotProvided, attempt, require, stated
from array_constraints_conformance.trial.trial import Trial


@check("ERR-1")
def nonsense_values_are_refused(trial: Trial) -> int:
    return refuses(nonsense(trial))


@check("ERR-2")
def wrong_types_are_refused(trial: Trial) -> int:
    return refuses(wrong_types(trial))


@check("ERR-3")
def an_axis_that_does_not_fit_is_refused(trial: Trial) -> int:
    return refuses(bad_axes(trial))


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
    for source in (nonsense, wrong_types, wrong_parameters, bad_axes, bad_dtypes):
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
    """Whether a message shows a value, or the entry of a sequence that is wrong."""
    loose = said.replace("(", "[").replace(")", "]").replace(",]", "]")
    plain = value.replace("(", "[").replace(")", "]").replace(",]", "]")
    entries = plain.strip("[]").split(", ") if plain.startswith("[") else []
    return value in said or plain in loose or any(f"got {x}" in said for x in entries)


_OF_NORMS: list[dict[str, Any]] = [
    {"max_value": np.float32(0.5), "axis": np.int64(1), "radius": np.float32(0.5)},
    {"max_value": np.int32(3), "axis": (np.int8(0), np.int64(1)), "radius": np.int32(3)},
    {"min_value": np.float64(0.25), "rate": np.float32(0.5)},
    {"axis": np.int16(-1)},
]
SCALARS: dict[str, list[dict[str, Any]]] = {
    "Box": [{"min_value": np.float32(-0.5), "max_value": np.int32(3)}],
    "Mask": [{"mask": np.asarray([True, False])}, {"mask": [np.True_, np.False_]}],
    "Triangular": [{"offset": np.int64(1), "axis": (np.int8(0), np.int64(1))}],
    "Banded": [{"lower": np.int64(1), "upper": np.int8(2)}],
    "NMSparse": [{"n": np.int64(1), "m": np.int8(2), "axis": np.int16(-1)}],
    "Chain": [{"constraints": [combined.config("MaxNorm", max_value=np.float32(2))]}],
    "Relaxed": [{"constraint": combined.config("NonNeg"), "rate": np.float32(0.5)}],
    "Blocks": [
        {"constraint": combined.config("NonNeg"), "axis": np.int8(1), "size": np.int64(2)},
        {"constraint": combined.config("NonNeg"), "sizes": (np.int64(1), np.int8(2))},
    ],
    "Sparse": [{"k": np.int64(1), "axis": np.int64(1)}, {"density": np.float32(0.5)}],
    "Monotone": [{"increasing": np.False_, "axis": np.int64(1)}],
    "Mean": [{"value": np.float32(0.5), "axis": np.int64(1)}],
    "Sum": [{"total": np.float32(0.5), "axis": np.int64(1)}],
    "Simplex": [{"total": np.float32(0.5), "axis": np.int64(1)}],
    "L1Ball": [{"radius": np.int32(2), "axis": np.int64(1)}],
    "Halfspace": [
        {"normal": np.asarray([1.0, 2.0]), "bound": np.float32(0.5)},
        {"normal": np.float32(0.5)},
    ],
    "Hyperplane": [
        {"normal": (np.float32(1), np.float64(2)), "value": np.int32(1)},
        {"normal": np.int64(2)},
    ],
}


@check("ERR-7")
def numpy_scalars_are_accepted(trial: Trial) -> int:
    make = trial.subject.function(trial.constraint)
    known = trial.definition.defaults
    applied = 0
    for given in SCALARS.get(trial.constraint, _OF_NORMS):
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
    if isinstance(value, dict):  # the config of a member
        return all(map(_is_plain, value.values()))
    return value is None or type(value) in (int, float, str, bool)


@check("ERR-8")
def wrong_parameters_of_further_sets_are_refused(trial: Trial) -> int:
    return refuses(wrong_parameters(trial))


@check("ERR-9")
def shapes_that_do_not_fit_are_refused(trial: Trial) -> int:
    return refuses(bad_shapes(trial))
