"""Faults of a module as a whole: its base class, and what it takes for a constraint."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import fields
from typing import Any

import array_constraints as ac
from faults.dialects import with_functions
from faults.making import Fault, implementation

MODULE = ("module",)


class Abstract(ac.Constraint):
    """A base that cannot be called."""

    def __call__(self, w: Any, *, copy: bool | None = None) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__")


class Forgetful(ac.Constraint):
    """A base whose ``from_config`` asks for arguments only where there is no other way."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        try:
            return cls()
        except TypeError:
            return cls(**config)


class Silent(ac.Constraint):
    """A base whose ``get_config`` is empty, as that of Keras."""

    def get_config(self) -> dict[str, Any]:
        return {}


def _numbers_too(right, identifier):
    return identifier if isinstance(identifier, int) else right(identifier)


def _one_spelling(right, identifier):
    if identifier == "min_max_norm":
        raise ValueError(f"unknown constraint {identifier!r}: did you mean 'minmax_norm'?")
    return right(identifier)


def _classes_are_callable(right, identifier):
    """Return whatever can be called, before it is asked whether it is a class."""
    return identifier if callable(identifier) else right(identifier)


def _copied(right, identifier):
    found = right(identifier)
    if found is identifier and isinstance(found, ac.Constraint):
        return type(found)(**{f.name: getattr(found, f.name) for f in fields(found)})
    return found


def _key_error(right, identifier):
    try:
        return right(identifier)
    except ValueError as error:
        raise KeyError(*error.args) from None


def _unknown_key(right, config, *more):
    try:
        return right(config, *more)
    except ValueError as error:
        raise (KeyError("Bogus") if "Bogus" in str(error) else error) from None


def _any_module(right, config, *more):
    """Read a known name whatever module it is written with."""
    return (
        right({**config, "module": None}, *more) if "module" in config else right(config, *more)
    )


def _any_package(right, config, *more):
    """Take the name after the package, whatever that is."""
    name = str(config.get("class_name")).rpartition(">")[2]
    known = hasattr(ac, name) and not config.get("module")
    return right({"class_name": name, "config": config["config"]} if known else config, *more)


def _only_class_name(right, config, *more):
    """Read the class name alone, not what it is registered as."""
    known = config.get("class_name") in ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")
    return right({**config, "registered_name": None} if known else config, *more)


def _evaluated(right, config, *more):
    if config.get("class_name") == "__lambda__":
        return eval(config["config"]["value"])
    return right(config, *more)


def _imported(right, config, *more):
    """Import the module of a config before its class is refused."""
    with contextlib.suppress(ImportError):
        importlib.import_module(config.get("module") or __name__)
    return right(config, *more)


def _empty_is_none(right, config, *more):
    return right(config, *more) if config else None


def _by_its_module(right, constraint, **options):
    """Write the module and the name of a class that is not registered."""
    try:
        return right(constraint, **options)
    except ValueError:
        cls = type(constraint)
        names = {"module": cls.__module__, "class_name": cls.__qualname__}
        return {**names, "config": constraint.get_config(), "registered_name": None}


def _without_package(right, constraint, **options):
    """Write the bare name of a registered class."""
    found = right(constraint, **options)
    if found is None or found["module"] is not None:
        return found
    name = type(constraint).__name__
    return {**found, "class_name": name, "registered_name": name}


def _not_registered(right, constraint, **options):
    try:
        return right(constraint, **options)
    except ValueError as error:
        raise TypeError(*error.args) from None


def _as_the_identity(right, config, *more):
    """Return the base for every registered class: it has a config."""
    found = right(config, *more)
    return ac.Constraint() if str(config.get("class_name")).startswith("conf") else found


IN_MODULES = [
    Fault("CFG-5", "a number comes back", with_functions(get=_numbers_too), MODULE),
    Fault("CFG-5", "one spelling is unknown", with_functions(get=_one_spelling), MODULE),
    Fault("CFG-5", "a class comes back", with_functions(get=_classes_are_callable), MODULE),
    Fault("CFG-5", "an instance is copied", with_functions(get=_copied), MODULE),
    Fault("CFG-5", "an unknown name is a KeyError", with_functions(get=_key_error), MODULE),
    Fault("CFG-7", "the base is abstract", lambda: implementation(Constraint=Abstract), MODULE),
    Fault(
        "CFG-7",
        "from_config prefers the defaults",
        lambda: implementation(Constraint=Forgetful),
        MODULE,
    ),
    Fault(
        "CFG-11",
        "an unknown name is a KeyError",
        with_functions(deserialize=_unknown_key),
        MODULE,
    ),
    Fault("CFG-11", "the module is not read", with_functions(deserialize=_any_module), MODULE),
    Fault(
        "CFG-11", "the package is not read", with_functions(deserialize=_any_package), MODULE
    ),
    Fault(
        "CFG-11",
        "the registered name is not read",
        with_functions(deserialize=_only_class_name),
        MODULE,
    ),
    Fault("CFG-11", "a lambda is evaluated", with_functions(deserialize=_evaluated), MODULE),
    Fault("CFG-11", "a module is imported", with_functions(deserialize=_imported), MODULE),
    Fault("CFG-11", "nothing is None", with_functions(deserialize=_empty_is_none), MODULE),
    Fault(
        "CFG-14",
        "get_config is empty where there are arguments",
        lambda: implementation(Constraint=Silent),
        MODULE,
    ),
    Fault(
        "CFG-14",
        "a class that is not registered is written by its module",
        with_functions(serialize=_by_its_module),
        MODULE,
    ),
    Fault(
        "CFG-14",
        "a registered class is written without its package",
        with_functions(serialize=_without_package),
        MODULE,
    ),
    Fault(
        "CFG-14",
        "a class that is not registered is a TypeError",
        with_functions(serialize=_not_registered),
        MODULE,
    ),
    Fault(
        "CFG-14",
        "a registered class comes back as the base",
        with_functions(deserialize=_as_the_identity),
        MODULE,
    ),
]
