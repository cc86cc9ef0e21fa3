"""Faults of errors: what is accepted that should be refused, or refused in a bad way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from faults.making import Fault, implementation
from faults.refusals import IN_CALLS, MUTE

MIN_MAX = ("MinMaxNorm",)
_KINDS = {"MaxNorm": {"max_value": 2, "axis": 0}, "UnitNorm": {"axis": 0}}
_KINDS["MinMaxNorm"] = {"min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": 0}


def given(change: Callable[[dict[str, Any]], dict[str, Any]], name: str = "MaxNorm") -> Any:
    """Return a module whose constructor judges ``change(arguments)`` instead."""
    names = list(_KINDS[name])

    def init(self: Any, *args: Any, **named: Any) -> None:
        arguments = change({**_KINDS[name], **dict(zip(names, args, strict=False)), **named})
        for key, value in arguments.items():
            object.__setattr__(self, key, value)
        self.__post_init__()

    return lambda: implementation(**{name: {"__init__": init}})


def kept(accepted: Callable[[str, Any], bool], name: str = "MaxNorm") -> Any:
    """Return a module that stores unjudged what ``accepted(parameter, value)`` says."""

    def judged(self: Any) -> None:
        asked = {key: getattr(self, key) for key in _KINDS[name]}
        own = {key: value for key, value in asked.items() if accepted(key, value)}
        for key in own:
            object.__setattr__(self, key, _KINDS[name][key])
        super(type(self), self).__post_init__()
        for key, value in own.items():
            object.__setattr__(self, key, value)

    return lambda: implementation(**{name: {"__post_init__": judged}})


def raising(change: Callable[[Exception], Exception], name: str = "MaxNorm") -> Any:
    """Return a module whose constructor raises another error."""

    def judged(self: Any) -> None:
        try:
            super(type(self), self).__post_init__()
        except (TypeError, ValueError) as error:
            raise change(error) from None

    return lambda: implementation(**{name: {"__post_init__": judged}})


def _integer_part(arguments):
    """Judge the integer part of the bound: -0.5 becomes 0."""
    bound = arguments["max_value"]
    small = type(bound) is float and -1 < bound < 0
    return {**arguments, "max_value": int(bound)} if small else arguments


def _text_read(arguments):
    bound = arguments["max_value"]
    return {**arguments, "max_value": float(bound) if isinstance(bound, str) else bound}


def _bool_counted(arguments):
    flag = isinstance(arguments["rate"], bool)
    return {**arguments, "rate": int(arguments["rate"]) if flag else arguments["rate"]}


def _whole_floats(arguments):
    """Take an axis of 1.0 for 1."""
    axis = arguments["axis"]
    return {**arguments, "axis": int(axis) if isinstance(axis, float) else axis}


def _inner_bools(arguments):
    axis = arguments["axis"]
    flags = isinstance(axis, tuple) and any(isinstance(i, bool) for i in axis)
    return {**arguments, "axis": tuple(map(int, axis)) if flags else axis}


def _set_of_axes(arguments):
    axis = arguments["axis"]
    several = isinstance(axis, list | tuple) and all(type(i) is int for i in axis)
    return {**arguments, "axis": tuple(dict.fromkeys(axis)) if several else axis}


def _clipped_rate(arguments):
    rate = arguments["rate"]
    return {**arguments, "rate": 1.0 if isinstance(rate, float) and rate > 1 else rate}


def _swapped_bounds(arguments):
    low, high = arguments["min_value"], arguments["max_value"]
    plain = all(isinstance(b, float) and math.isfinite(b) for b in (low, high))
    return (
        {**arguments, "min_value": high, "max_value": low}
        if plain and low > high
        else arguments
    )


def _a_type_error(error):
    """Say that NaN is no number: a TypeError."""
    return TypeError(*error.args) if "got nan" in str(error) else error


def _a_value_error(error):
    return ValueError(*error.args)


def _without_bounds(error):
    """Say that the bounds contradict each other, without saying which they are."""
    exceeds = str(error).startswith("min_value must not exceed")
    return ValueError("min_value must not exceed max_value") if exceeds else error


def _without_name(error):
    return type(error)(str(error).replace("max_value", "the bound"))


def _float_as_it_is(self: Any) -> None:
    """Keep what is a float: a float64 of NumPy is."""
    asked = self.min_value
    super(type(self), self).__post_init__()
    if isinstance(asked, float):
        object.__setattr__(self, "min_value", asked)


def _index_as_it_is(self: Any) -> None:
    """Keep what can be an index: an int16 of NumPy can."""
    asked = self.axis
    super(type(self), self).__post_init__()
    if isinstance(asked, np.integer):
        object.__setattr__(self, "axis", asked)


def _float(name: str, test: Callable[[float], bool]) -> Callable[[str, Any], bool]:
    return lambda key, value: key == name and isinstance(value, float) and test(value)


FAULTS = [
    Fault(
        "ERR-1",
        "NaN passes for a bound: it is not below zero",
        kept(_float("max_value", math.isnan)),
        also=MUTE,
    ),
    Fault("ERR-1", "a bound of -0.5 is cut to 0", given(_integer_part), also=MUTE),
    Fault("ERR-1", "NaN is a TypeError", raising(_a_type_error)),
    Fault(
        "ERR-1",
        "min_value may be infinite",
        kept(lambda key, value: key == "min_value" and value == math.inf, "MinMaxNorm"),
        MIN_MAX,
        also=MUTE,
    ),
    Fault(
        "ERR-1",
        "a rate above 1 counts as 1",
        given(_clipped_rate, "MinMaxNorm"),
        MIN_MAX,
        also=MUTE,
    ),
    Fault(
        "ERR-1",
        "bounds are put in order",
        given(_swapped_bounds, "MinMaxNorm"),
        MIN_MAX,
        also=MUTE,
    ),
    Fault("ERR-2", "a bound is read from text", given(_text_read), also=MUTE),
    Fault("ERR-2", "an axis of 1.0 is 1", given(_whole_floats), also=MUTE),
    Fault("ERR-2", "a bool among several axes is 0 or 1", given(_inner_bools), also=MUTE),
    Fault("ERR-2", "an axis named twice counts once", given(_set_of_axes), also=MUTE),
    Fault(
        "ERR-2", "a rate of True is 1", given(_bool_counted, "MinMaxNorm"), MIN_MAX, also=MUTE
    ),
    Fault("ERR-2", "a wrong type is a ValueError", raising(_a_value_error)),
    Fault("ERR-6", "a message has no name of the parameter", raising(_without_name)),
    Fault(
        "ERR-6",
        "the bounds that contradict each other are not shown",
        raising(_without_bounds, "MinMaxNorm"),
        MIN_MAX,
    ),
    Fault(
        "ERR-7",
        "a float64 of NumPy is kept, for it is a float",
        lambda: implementation(MinMaxNorm={"__post_init__": _float_as_it_is}),
        MIN_MAX,
    ),
    Fault(
        "ERR-7",
        "an integer of NumPy is kept as the axis",
        lambda: implementation(UnitNorm={"__post_init__": _index_as_it_is}),
        ("UnitNorm",),
    ),
    *IN_CALLS,
]
