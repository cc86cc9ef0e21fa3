"""Variables of Keras as arrays, and the axis of the units of their layers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from array_constraints import Constraint
from array_constraints.layers import Weight, resolved
from array_constraints.layers.keras import role_in
from array_constraints.libraries import CONTENTS

_MARK = "_resolves_axes_of_array_constraints"


def make_known() -> None:
    """Take the arrays out of variables, and resolve ``axis="incoming"`` where one is made."""
    CONTENTS[keras.Variable] = _content
    if not hasattr(keras.Layer.add_weight, _MARK):  # not twice, where a module is reloaded
        keras.Layer.add_weight = _resolving(keras.Layer.add_weight)


def _content(variable: keras.Variable) -> Any:
    value = variable.value
    return value.detach() if hasattr(value, "detach") else value


def _resolving(add_weight: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add_weight)
    def add_weight_and_resolve(layer: Any, *args: Any, **options: Any) -> Any:
        variable = add_weight(layer, *args, **options)
        constraint = variable.constraint
        if isinstance(constraint, Constraint):
            role = role_in(layer, variable.name, len(variable.shape))
            try:
                variable.constraint = resolved(
                    constraint, Weight(variable.path, variable, role)
                )
            except (TypeError, ValueError) as error:
                raise type(error)(f"{variable.path!r}: {error}") from None
        return variable

    setattr(add_weight_and_resolve, _MARK, True)
    return add_weight_and_resolve
