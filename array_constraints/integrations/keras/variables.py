"""Variables of Keras as arrays, and the axes of their constraints, asked where one is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from array_constraints import Constraint
from array_constraints.forms import Form
from array_constraints.layers import Weight
from array_constraints.layers.keras import role_in
from array_constraints.libraries import CONTENTS
from array_constraints.rules import Selection, warn_of_axes

_MARK = "_resolves_axes_of_array_constraints"


def make_known() -> None:
    """Take the arrays out of variables, and ask for the axes where a layer makes one."""
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
        if isinstance(variable.constraint, Constraint):
            role = role_in(layer, variable.name, len(variable.shape))
            weight = Weight(variable.path, variable, role)
            selection = Selection.of(weight, variable.constraint, 0)
            if isinstance(selection.constraint, Form):  # others may mean anything by an axis
                selection.require_axes()
                warn_of_axes([selection])
            variable.constraint = selection.constraint
        return variable

    setattr(add_weight_and_resolve, _MARK, True)
    return add_weight_and_resolve
