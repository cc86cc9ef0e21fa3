"""Faults of configs of the four constraints: the family CFG but for what ``modules`` has."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import array_constraints as ac
from faults.making import Fault, implementation

MIN_MAX = ("MinMaxNorm",)


def with_functions(**changes: Callable[..., Any]) -> Callable[[], Any]:
    """Return a module in which ``change(right, ...)`` replaces each function named."""

    def made() -> Any:
        module = implementation()
        for name, change in changes.items():
            setattr(module, name, partial(change, getattr(module, name)))
        return module

    return made


def with_methods(name: str = "MaxNorm", **methods: Any) -> Callable[[], Any]:
    """Return a module in which a constraint has these methods, whatever the class was made with."""

    def made() -> Any:
        module = implementation()
        cls = getattr(module, name)
        for key, method in methods.items():
            setattr(cls, key, method)
        return module

    return made


def arguments(constraint: Any) -> dict[str, Any]:
    return {f.name: getattr(constraint, f.name) for f in fields(constraint)}


def own_from_config(change: Callable[[dict[str, Any]], dict[str, Any]], name: str) -> Any:
    """Return a module whose ``from_config`` loses something; pickling does not ask it."""

    def made() -> Any:
        module = implementation()
        cls = getattr(module, name)
        right = cls.__reduce__

        def from_config(kind: type, config: dict[str, Any]) -> Any:
            return super(kind, kind).from_config(change(dict(config)))

        def reduce(self: Any) -> Any:
            function, (key, _) = right(self)
            return _made_again, (function, key, arguments(self))

        cls.from_config, cls.__reduce__ = classmethod(from_config), reduce
        return module

    return made


def _made_again(function: Callable[..., Any], key: int, given: dict[str, Any]) -> Any:
    return type(function(key, {}))(**given)


def _keyword_only(self: Any, *, max_value: Any = 2, axis: Any = 0) -> None:
    object.__setattr__(self, "max_value", max_value)
    object.__setattr__(self, "axis", axis)
    self.__post_init__()


def _upper_bound_first(
    self: Any, max_value: Any = 1.0, min_value: Any = 0.0, rate: Any = 1.0, axis: Any = 0
) -> None:
    given = {"min_value": min_value, "max_value": max_value, "rate": rate, "axis": axis}
    for key, value in given.items():
        object.__setattr__(self, key, value)
    self.__post_init__()


def _last_axis(self: Any, axis: Any = -1) -> None:
    object.__setattr__(self, "axis", axis)
    self.__post_init__()


def _sorted_axes(self: Any) -> None:
    super(type(self), self).__post_init__()
    if isinstance(self.axis, tuple):
        object.__setattr__(self, "axis", tuple(sorted(self.axis)))


def _negative_in_tuple(self: Any) -> None:
    super(type(self), self).__post_init__()
    if isinstance(self.axis, int) and self.axis < 0:
        object.__setattr__(self, "axis", (self.axis,))


def _without_rate(config):
    return {key: value for key, value in config.items() if key != "rate"}


def _first_axis(config):
    axis = config["axis"] if isinstance(config["axis"], list) else [config["axis"]]
    return {**config, "axis": axis[0]}


def _without_none(config):
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


def _reduced_without_rate(self: Any) -> Any:
    return _again_as, (type(self), self.min_value, self.max_value, self.axis)


def _again_as(name: type, low: float, high: float, axis: Any) -> Any:
    return name(low, high, axis=axis)


def _by_identity(self: Any) -> int:
    return id(self) // 16


def _but_the_axis(self: Any, other: Any) -> bool:
    return type(self) is type(other) and self.max_value == other.max_value


def _bounds_alone(self: Any) -> int:
    return hash((self.max_value, getattr(self, "min_value", None)))


def _but_the_rate(self: Any, other: Any) -> bool:
    one, two = ({**arguments(c), "rate": 1} for c in (self, other))
    return type(self) is type(other) and one == two


def _rounded(self: Any) -> str:
    return f"MaxNorm(max_value={self.max_value:g}, axis={self.axis!r})"


def _without_axis(self: Any) -> str:
    return f"MaxNorm(max_value={self.max_value!r})"


def _list_kept(self: Any) -> None:
    """Keep the list that was passed, and whoever changes it changes the constraint."""
    given = self.axis
    super(type(self), self).__post_init__()
    if isinstance(given, list):
        object.__setattr__(self, "axis", given)


def _plain(constraint: Any) -> tuple[Any, ...]:
    axis = constraint.axis
    return (*_bare(constraint), tuple(axis) if isinstance(axis, list) else axis)


def _bare(constraint: Any) -> tuple[Any, ...]:
    return tuple(value for key, value in arguments(constraint).items() if key != "axis")


def _assigned(self: Any, name: str, value: Any) -> None:
    """Let the axis be assigned, and nothing else."""
    if name != "axis":
        raise AttributeError(f"{name} cannot be assigned")
    object.__setattr__(self, name, value)


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
    return {**found, "module": "keras.constraints"} if found is not None and not options else found


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
        config = {**config, "config": _first_axis(config["config"])}
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
    if isinstance(identifier, dict) and identifier.get("config", {}).get("max_value") == math.inf:
        identifier = {**identifier, "config": _largest(identifier["config"])}
    return right(identifier)


def _largest(config):
    return {**config, "max_value": 1.7976931348623157e308}


LOST = frozenset({"CFG-9"})  # what comes back is unequal, too
FAULTS = [
    Fault(
        "CFG-1",
        "parameters are taken by keyword alone",
        lambda: implementation(MaxNorm={"__init__": _keyword_only}),
    ),
    Fault(
        "CFG-1",
        "max_value comes first",
        lambda: implementation(MinMaxNorm={"__init__": _upper_bound_first}),
        MIN_MAX,
    ),
    Fault(
        "CFG-1",
        "the axis is the last by default",
        lambda: implementation(UnitNorm={"__init__": _last_axis}),
        ("UnitNorm",),
    ),
    Fault(
        "CFG-2",
        "axes are sorted",
        lambda: implementation(MinMaxNorm={"__post_init__": _sorted_axes}),
        MIN_MAX,
    ),
    Fault(
        "CFG-2",
        "a negative axis comes back in a tuple",
        lambda: implementation(UnitNorm={"__post_init__": _negative_in_tuple}),
        ("UnitNorm",),
    ),
    Fault("CFG-3", "the rate is lost", own_from_config(_without_rate, "MinMaxNorm"), MIN_MAX),
    Fault("CFG-3", "an axis of None is lost", own_from_config(_without_none, "MaxNorm")),
    Fault("CFG-3", "the first of several axes is read", own_from_config(_first_axis, "MaxNorm")),
    Fault("CFG-4", "None is written as {}", with_functions(serialize=_none_is_empty)),
    Fault("CFG-4", "None is not read", with_functions(deserialize=_none_is_refused)),
    Fault("CFG-4", "None is the identity", with_functions(deserialize=_none_is_the_identity)),
    Fault(
        "CFG-4",
        "an axis of None is not written",
        with_functions(serialize=_in_config(_without_none)),
        also=LOST,
    ),
    Fault(
        "CFG-4",
        "the rate is not written",
        with_functions(serialize=_in_config(_without_rate)),
        MIN_MAX,
        also=LOST,
    ),
    Fault(
        "CFG-6",
        "the rate is not pickled",
        with_methods("MinMaxNorm", __reduce__=_reduced_without_rate),
        MIN_MAX,
    ),
    Fault(
        "CFG-6", "a constraint cannot be pickled", with_methods(__reduce__=object.__reduce__)
    ),
    Fault("CFG-8", "configs of Keras 2 are refused", with_functions(deserialize=_without_keras_2), ("UnitNorm",)),
    Fault("CFG-8", "the first of several axes is read", with_functions(deserialize=_keras_2_first_axis)),
    Fault("CFG-9", "infinity is no strict JSON", with_functions(serialize=_in_config(_floats_of_infinity))),
    Fault("CFG-9", "infinity is null", with_functions(serialize=_in_config(_null_for_infinity))),
    Fault(
        "CFG-9",
        "infinity is the largest number",
        with_functions(serialize=_in_config(_largest_for_infinity)),
        MIN_MAX,
    ),
    Fault("CFG-10", "the hash is that of the object", with_methods(__hash__=_by_identity)),
    Fault(
        "CFG-10",
        "constraints along other axes are equal",
        with_methods(__eq__=_but_the_axis, __hash__=_bounds_alone),
        ("MaxNorm",),
    ),
    Fault(
        "CFG-10",
        "constraints of another rate are equal",
        with_methods("MinMaxNorm", __eq__=_but_the_rate, __hash__=_bounds_alone),
        MIN_MAX,
    ),
    Fault("CFG-10", "repr shows six digits", with_methods(__repr__=_rounded)),
    Fault("CFG-10", "repr does not show the axis", with_methods(__repr__=_without_axis)),
    Fault("CFG-10", "the axis can be assigned", with_methods(__setattr__=_assigned)),
    Fault(
        "CFG-10",
        "a list of axes is kept as it is",
        with_methods(
            "UnitNorm",
            __post_init__=_list_kept,
            __eq__=lambda a, b: type(a) is type(b) and _plain(a) == _plain(b),
            __hash__=lambda a: hash(_plain(a)),
        ),
        ("UnitNorm",),
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
    Fault("CFG-13", "a spelling of TensorFlow.js is unknown", with_functions(get=_one_spelling), ("UnitNorm",)),
    Fault("CFG-13", "Infinity is the largest number", with_functions(get=_finite_infinity)),
]
