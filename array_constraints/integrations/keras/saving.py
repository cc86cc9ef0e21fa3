"""Where in a model the constraint of a variable is saved: an argument in a layer's config."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from array_constraints import NonNeg


@dataclass(frozen=True)
class Place:
    """Where the constraint of a variable is kept, besides on the variable.

    ``argument`` is the attribute of ``layer`` that is its argument of that name; none if the
    layer has no such argument. ``saved`` says whether ``outermost``, the layer that a model
    lists, writes it into its config.
    """

    layer: Any
    argument: str | None
    outermost: Any
    saved: bool


def places_of(model: Any) -> dict[int, Place]:
    """Return the place of each trainable variable of a model, by the id of the variable."""
    places: dict[int, Place] = {}
    for outermost, layer in _layers(model):
        for variable in layer._trainable_variables:
            known, argument = places.get(id(variable)), _argument_of(layer, variable.name)
            if known is None or (known.argument is None and argument is not None):
                saved = argument is not None and follows(outermost, layer, argument)
                places[id(variable)] = Place(layer, argument, outermost, saved)
    return places


def composites(model: Any) -> Iterator[tuple[Any, str, bool, list[Any]]]:
    """Yield each layer that gives layers inside it one argument, and the variables of that.

    Multi-head attention is one: its four projections are not in its config, and its own
    ``kernel_constraint`` is. With it come the attribute, and whether it is saved.
    """
    for outermost, layer in _layers(model):
        inner = [other for other in layer._flatten_layers() if other is not layer]
        for argument in ("kernel_constraint", "bias_constraint"):
            for attribute in (argument, f"_{argument}"):
                if inner and attribute in vars(layer):
                    variables = [
                        variable
                        for other in inner
                        for variable in other._trainable_variables
                        if _argument_of(other, variable.name) == argument
                    ]
                    yield layer, attribute, follows(outermost, layer, attribute), variables


def follows(outermost: Any, layer: Any, argument: str) -> bool:
    """Whether the config of a layer says what the argument of a layer in it is."""
    before = getattr(layer, argument)
    configs = []
    try:
        for value in (None, NonNeg()):
            setattr(layer, argument, value)
            configs.append(json.dumps(outermost.get_config(), default=str, sort_keys=True))
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return False  # it has no config
    finally:
        setattr(layer, argument, before)
    return configs[0] != configs[1]


def _layers(layer: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each layer, after the outermost one around it whose config a model lists."""
    if type(layer).__name__ in ("Functional", "Sequential") and _is_of_keras(type(layer)):
        for listed in layer.layers:
            yield from _layers(listed)
    else:
        for inner in layer._flatten_layers():
            yield layer, inner


def _is_of_keras(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "keras"


def _argument_of(layer: Any, variable: str) -> str | None:
    """Return the argument of a layer for the constraint of its variable of that name."""
    names = [f"{variable}_constraint", f"{variable.removesuffix('_kernel')}_constraint"]
    if variable == "kernel":
        names.append("depthwise_constraint")  # of depthwise convolutions
    return next((name for name in names if name in vars(layer)), None)
