"""Keras's own constraints of a model, made into those of this library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from array_constraints import Constraint, deserialize
from array_constraints.integrations.keras.attaching import forget_compiled
from array_constraints.integrations.keras.printing import say

_OWN = {
    keras.constraints.MaxNorm,
    keras.constraints.MinMaxNorm,
    keras.constraints.NonNeg,
    keras.constraints.UnitNorm,
}


def convert(model: Any, *, verbose: bool = True) -> dict[str, Constraint]:
    """Replace Keras's own constraints of a model by those of this library.

    The parameters stay, the axis too, and so do the weights: the next step of training
    constrains them. Results differ by Keras's epsilon, which shrinks every weight; see
    ``docs/keras.md``. Subclasses of Keras's constraints are no longer Keras's own, and stay.

    Parameters
    ----------
    model
        A model or layer of Keras, built or not.
    verbose
        Whether to print what was replaced.

    Returns
    -------
    dict
        The constraint that each weight of a built model has now, by the path of the variable,
        if it was replaced.

    Raises
    ------
    TypeError
        If it is no model of Keras.
    TypeError, ValueError
        If Keras's constraint has parameters that make no sense, before anything is replaced.
    """
    if not isinstance(model, keras.Layer):
        raise TypeError(f"convert takes a model of Keras, got {type(model).__name__}")
    found = [(*place, _converted(*place)) for place in _places(model)]
    for owner, name, _, ours in found:
        setattr(owner, name, ours)
    forget_compiled(model)
    converted = {owner.path: ours for owner, name, _, ours in found if name == "constraint"}
    if verbose:
        for path, ours in converted.items():
            say(f"{path}: {ours}")
        say(f"{len(found)} constraints of Keras were replaced, {len(converted)} on variables")
    return converted


def _places(model: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield what has a constraint of Keras: an attribute of a layer, or a variable."""
    seen = set()
    for layer in model._flatten_layers():
        for name, value in vars(layer).items():
            if type(value) in _OWN:
                yield layer, name, value
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if type(variable.constraint) in _OWN and id(variable) not in seen:
                seen.add(id(variable))
                yield variable, "constraint", variable.constraint


def _converted(owner: Any, name: str, constraint: Any) -> Constraint:
    try:
        ours: Constraint | None = deserialize(keras.constraints.serialize(constraint))
    except (TypeError, ValueError) as error:
        where = f"{name} of {owner.name!r}" if name != "constraint" else repr(owner.path)
        raise type(error)(f"{where}: {error}") from None
    assert ours is not None  # noqa: S101 - only None comes back as None
    return ours
