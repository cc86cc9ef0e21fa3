"""The config dialects of Keras 1, 2 and 3, tf_keras and TensorFlow.js."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from array_constraints.parameters import INCOMING, from_json, judge_depth, tuples_restored

_KERAS_MODULES = re.compile(
    r"(tensorflow\.(python\.)?)?(tf_)?keras\.(src\.)?constraints(\.\w+)*"
)
# Keras 1 named the parameters otherwise, in one flat dictionary.
_KERAS_1_PARAMETERS = {"m": "max_value", "low": "min_value", "high": "max_value"}


_IN_KERAS_3 = {
    "Constraint": (),
    "MaxNorm": ("max_value", "axis"),
    "MinMaxNorm": ("min_value", "max_value", "rate", "axis"),
    "NonNeg": (),
    "UnitNorm": ("axis",),
}
"""The constraints of Keras 3, with their parameters."""


def for_keras(name: str, constraint: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config that Keras 3 reads as its own class.

    Raises
    ------
    ValueError
        If Keras has no such constraint, or not with these parameters.
    """
    advice = "use dialect='array_constraints'"
    if name not in _IN_KERAS_3:
        raise ValueError(f"Keras 3 has no {name}: {advice}")
    defaults = {f.name: f.default for f in fields(constraint)} if config else {}
    values = {key: from_json(value) for key, value in config.items()}
    for key, value in values.items():
        if key not in _IN_KERAS_3[name] and value != defaults.get(key):
            raise ValueError(f"Keras has no {key} of {name}, got {value!r}: {advice}")
        if key != "axis" and isinstance(value, tuple):
            raise ValueError(f"Keras has no radius per slice: {advice}")
    if values.get("axis") == INCOMING:
        raise ValueError(f"Keras has no axis 'incoming': {advice}")
    kept = {key: values[key] for key in _IN_KERAS_3[name]}
    return {
        "module": "keras.constraints",
        "class_name": name,
        "config": {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()},
        "registered_name": None,
    }


def read(config: Mapping[str, Any]) -> tuple[str, str | None, str | None, dict[str, Any]]:
    """Return class name, module, registered name and parameters, whatever the dialect."""
    judge_depth(config)
    config = {key: tuples_restored(value) for key, value in config.items()}
    if "className" in config:  # TensorFlow.js
        parameters = _renamed(_parameters_of(config), snake)
        if parameters.get("axis", 0) is None:
            del parameters["axis"]  # null is its default there, not the whole array
        return _string(config, "className"), None, None, parameters
    if "class_name" in config:
        module, registered_name = (
            _string(config, key) if config.get(key) is not None else None
            for key in ("module", "registered_name")
        )
        parameters = dict(_parameters_of(config))
        return _string(config, "class_name"), module, registered_name, parameters
    if "name" in config:  # Keras 1
        flat = {k: v for k, v in config.items() if k != "name"}
        parameters = _renamed(flat, lambda key: _KERAS_1_PARAMETERS.get(key, key))
        return _string(config, "name"), None, None, parameters
    raise ValueError(f"a config names its class by 'class_name', got keys {list(config)}")


def _renamed(parameters: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    renamed = {rename(key): value for key, value in parameters.items()}
    if len(renamed) < len(parameters):
        raise ValueError(f"a config names a parameter twice: {list(parameters)}")
    return renamed


def _string(config: Mapping[str, Any], key: str) -> str:
    name = config[key]
    if not isinstance(name, str):
        raise ValueError(f"{key!r} must be a string, got {name!r}")
    return name


def _parameters_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = config.get("config")
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise ValueError(f"'config' must be a dictionary, got {type(parameters).__name__}")
    if not all(isinstance(key, str) for key in parameters):
        raise ValueError(f"'config' must have strings as keys, got {list(parameters)}")
    return parameters


def is_from_keras(module: str | None) -> bool:
    """Whether a module, named in a config, is one of Keras or of TensorFlow."""
    return module is not None and _KERAS_MODULES.fullmatch(module) is not None


def snake(name: str) -> str:
    """Return MaxNorm and maxNorm as max_norm, NMSparse as nm_sparse."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def spellings(name: str) -> set[str]:
    """MaxNorm, max_norm; maxnorm of Keras 2; maxNorm of TensorFlow.js."""
    own = snake(name)
    return {name, own, own.replace("_", ""), name[0].lower() + name[1:]}
