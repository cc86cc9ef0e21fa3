"""Layers of Keras 3: the names of their variables, and what a unit of each layer is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import keras

from array_constraints.layers.weight import Role, Weight, summed_axes, tied

_NORMS = (
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization",
)  # fmt: skip
_KINDS = {
    "MultiHeadAttention": "attention",
    "GroupedQueryAttention": "attention",
    "RNN": "recurrent",
}
"""Layers that are made of others, whose weights are of their kind."""


def weights_of(model: keras.layers.Layer) -> list[Weight]:
    """Return the trainable variables of a model or layer, each once, with all of its names.

    A variable that a layer and another around it hold is that of the inner one. A name is those
    of the layers around a variable, and its own: its path when the model is built. A model that
    is loaded has the same names, and shorter paths of what is nested.

    Raises
    ------
    ValueError
        If the model is not built yet.
    """
    if not model.built:
        raise ValueError(
            f"the model {model.name!r} has no weights yet: build it, for example by calling it"
        )
    found: dict[int, Weight] = {}
    holders: dict[int, int] = {}
    for layer, prefix, kind, above in _layers(model, "", None, ()):
        for variable in layer._trainable_variables:
            role = role_in(layer, variable.name, len(variable.shape), kind)
            weight = Weight(prefix + variable.name, variable, role)
            if id(variable) in found and holders[id(variable)] not in above:
                weight = tied(found[id(variable)], weight)
            found[id(variable)], holders[id(variable)] = weight, id(layer)
    return list(found.values())


def _layers(
    layer: Any, prefix: str, kind: str | None, above: tuple[int, ...]
) -> Iterator[tuple[Any, str, str | None, tuple[int, ...]]]:
    """Yield each layer, the prefix of its names, the kind and ids of the layers around it."""
    yield layer, prefix, kind, above
    kind = next((k for cls, k in _KINDS.items() if _is(layer, cls)), kind)
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        if id(inner) not in above:
            yield from _layers(inner, f"{prefix}{inner.name}/", kind, (*above, id(layer)))


def role_in(layer: Any, name: str, ndim: int, kind: str | None = None) -> Role:
    """Return the role of a variable of that name; ``kind`` is that of a layer around it."""
    shown = type(layer).__name__
    if any(_is(layer, norm) for norm in _NORMS):
        return Role.without_units(shown, "norm")
    if name == "bias":
        return Role.without_units(shown, "bias")
    if _is(layer, "PReLU"):
        return Role.without_units(shown, "other")
    for cls, variables in _VARIABLES.items():
        if _is(layer, cls) and name in variables:
            usual, first, last = variables[name]
            return Role(shown, kind or usual, (*range(ndim + first), *(ndim + i for i in last)))
    if _is(layer, "EinsumDense") and name == "kernel":
        return Role(shown, kind or "dense", summed_axes(layer.equation))
    return Role.unknown(shown)


def _is(layer: Any, name: str) -> bool:
    """Whether a layer is of a class of Keras, or derived from it."""
    return any(
        cls.__name__ == name and cls.__module__.partition(".")[0] == "keras"
        for cls in type(layer).__mro__
    )


_Place: TypeAlias = tuple[str, int, tuple[int, ...]]
_RECURRENT: dict[str, _Place] = dict.fromkeys(
    ("kernel", "recurrent_kernel"), ("recurrent", -1, ())
)
_SEPARABLE: dict[str, _Place] = {
    "depthwise_kernel": ("conv", -2, ()),
    "pointwise_kernel": ("conv", -1, ()),
}
_VARIABLES: dict[str, dict[str, _Place]] = {
    "Dense": {"kernel": ("dense", -1, ())},
    "BaseConv": {"kernel": ("conv", -1, ())},
    "BaseConvTranspose": {"kernel": ("conv", -2, (-1,))},  # (*kernel, out, in)
    "BaseDepthwiseConv": {"kernel": ("conv", -2, ())},  # (*kernel, in, multiplier)
    "BaseSeparableConv": _SEPARABLE,
    "Embedding": {
        "embeddings": ("embedding", -2, (-1,)),
        "reverse_embeddings": ("dense", -1, ()),
    },
    "LSTMCell": _RECURRENT,
    "GRUCell": _RECURRENT,
    "SimpleRNNCell": _RECURRENT,
    "ConvLSTMCell": _RECURRENT,
}
"""For each variable of a layer its kind, and its incoming dimensions: all but the last one or
two, and of those the ones that are listed."""
