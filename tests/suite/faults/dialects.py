"""Faults of ``serialize``, ``deserialize`` and ``get``: what they write and read."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import array_constraints as ac
from faults.making import Fault, implementation

MIN_MAX, UNIT = ("MinMaxNorm",), ("UnitNorm",)
LOST = frozenset({"CFG-9"})  # what comes back is unequal, too


def with_functions(**changes: Callable[..., Any]) -> Callable[[], Any]:
    """Return a module in which ``change(right, ...)`` replaces each function named."""

    def made() -> Any:
        module = implementation()
        for name, change in changes.items():
            setattr(module, name, partial(change, getattr(module, name)))
        return module

    return made


def without_rate(config):
    return {key: value for key, value in config.items() if key != "rate"}


def first_axis(config):
    axis = config.get("axis", 0)
    return {**config, "axis": axis[0] if isinstance(axis, list) else axis}


def without_none(config):
    """Leave out what is None: the default takes its place."""
    return {key: value for key, value in config.items() if value is not None}


def _in_config(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., Any]:
    """Return a ``serialize`` that changes its own configs, not those of Keras."""

    def serialize(right: Callable[..., Any], c: Any, **options: Any) -> Any:
        found = right(c, **options)
        if found is None or options:
            return found
        return {**found, "config": change(found["config"])}

    return serialize


def _none_is_empty(right, constraint, **options):
    return {} if constraint is None else right(constraint, **options)


def _none_is_refused(right, config, *more):
    if config is None:
        raise ValueError("a config is a dictionary, got NoneType")
    return right(config, *more)


def _none_is_the_identity(right, config, *more):
    return ac.Constraint() if config is None else right(config, *more)


def _floats_of_infinity(config):
    return {k: math.inf if v == "inf" else v for k, v in config.items()}


def _null_for_infinity(config):
    return {k: None if v == "inf" else v for k, v in config.items()}


def _largest_for_infinity(config):
    return {k: 1.7976931348623157e308 if v == "inf" else v for k, v in config.items()}


def _bare_class_name(right, constraint, **options):
    found = right(constraint, **options)
    own = found is not None and not options
    return {**found, "class_name": type(constraint).__name__} if own else found


def _not_registered(right, constraint, **options):
    found = right(constraint, **options)
    return {**found, "registered_name": None} if found is not None and not options else found


def _under_keras(right, constraint, **options):
    """Write the module of Keras beside a name of its own."""
    found = right(constraint, **options)
    return (
        {**found, "module": "keras.constraints"} if found is not None and not options else found
    )


def _read_under_keras(right, config, *more):
    own = config is not None and ">" in str(config.get("class_name"))
    return right({**config, "module": None} if own else config, *more)


def _own_dialect_only(right, constraint, **options):
    return right(constraint)


def _keras_without_axis(right, constraint, dialect="array_constraints"):
    found = right(constraint, dialect=dialect)
    if found is not None and dialect == "keras":
        found["config"].pop("axis", None)
    return found


def _without_keras_2(right, config, *more):
    """Ask for the module, which Keras 2 did not write."""
    if config is not None and "class_name" in config and "module" not in config:
        raise ValueError("a config has a module")
    return right(config, *more)


def _keras_2_first_axis(right, config, *more):
    """Read the first of several axes, as Keras 2 took one."""
    if config is not None and "class_name" in config and "module" not in config:
        config = {**config, "config": first_axis(config["config"])}
    return right(config, *more)


def _without_m(right, identifier):
    """Drop the parameter that Keras 1 called m."""
    if isinstance(identifier, dict) and "m" in identifier:
        identifier = {key: value for key, value in identifier.items() if key != "m"}
    return right(identifier)


def _low_is_high(right, identifier):
    if isinstance(identifier, dict) and "low" in identifier:
        swapped = {"low": 0.0, "high": identifier["low"]}
        identifier = {**identifier, **swapped}
    return right(identifier)


def _one_spelling(right, identifier):
    if identifier == "unitNorm":
        raise ValueError(f"unknown constraint {identifier!r}")
    return right(identifier)


def _finite_infinity(right, identifier):
    if (
        isinstance(identifier, dict)
        and identifier.get("config", {}).get("max_value") == math.inf
    ):
        identifier = {**identifier, "config": _largest(identifier["config"])}
    return right(identifier)


def _largest(config):
    return {**config, "max_value": 1.7976931348623157e308}


IN_FUNCTIONS = [
    Fault("CFG-4", "None is written as {}", with_functions(serialize=_none_is_empty)),
    Fault("CFG-4", "None is not read", with_functions(deserialize=_none_is_refused)),
    Fault("CFG-4", "None is the identity", with_functions(deserialize=_none_is_the_identity)),
    Fault(
        "CFG-4",
        "an axis of None is not written",
        with_functions(serialize=_in_config(without_none)),
        also=LOST,
    ),
    Fault(
        "CFG-4",
        "the rate is not written",
        with_functions(serialize=_in_config(without_rate)),
        MIN_MAX,
        also=LOST,
    ),
    Fault(
        "CFG-8",
        "configs of Keras 2 are refused",
        with_functions(deserialize=_without_keras_2),
        UNIT,
    ),
    Fault(
        "CFG-8",
        "the first of several axes is read",
        with_functions(deserialize=_keras_2_first_axis),
    ),
    Fault(
        "CFG-9",
        "infinity is no strict JSON",
        with_functions(serialize=_in_config(_floats_of_infinity)),
    ),
    Fault(
        "CFG-9", "infinity is null", with_functions(serialize=_in_config(_null_for_infinity))
    ),
    Fault(
        "CFG-9",
        "infinity is the largest number",
        with_functions(serialize=_in_config(_largest_for_infinity)),
        MIN_MAX,
    ),
    Fault("CFG-12", "the class name is bare", with_functions(serialize=_bare_class_name)),
    Fault("CFG-12", "the registered name is null", with_functions(serialize=_not_registered)),
    Fault(
        "CFG-12",
        "the module is that of Keras",
        with_functions(serialize=_under_keras, deserialize=_read_under_keras),
    ),
    Fault("CFG-12", "the dialect is ignored", with_functions(serialize=_own_dialect_only)),
    Fault("CFG-12", "Keras's form has no axis", with_functions(serialize=_keras_without_axis)),
    Fault("CFG-13", "m of Keras 1 is lost", with_functions(get=_without_m)),
    Fault("CFG-13", "low of Keras 1 is high", with_functions(get=_low_is_high), MIN_MAX),
    Fault(
        "CFG-13",
        "a spelling of TensorFlow.js is unknown",
        with_functions(get=_one_spelling),
        UNIT,
    ),
    Fault("CFG-13", "Infinity is the largest number", with_functions(get=_finite_infinity)),
]
