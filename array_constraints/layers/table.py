"""Which file knows the weights of a model; named arrays need none."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from array_constraints.layers import by_shape
from array_constraints.layers.weight import Weight

_MODELS = {
    "keras": ("Layer", "keras"),  # before torch.nn: on that backend a layer is a module, too
    "torch.nn": ("Module", "torch"),
    "flax.nnx": ("Module", "flax"),
    "flax.linen": ("Module", "flax"),
    "equinox": ("Module", "equinox"),
}
"""The class of the models of each framework, and the file here that knows them."""


def weights_of(source: Any, layout: str | None = None) -> list[Weight]:
    """Return the weights of a model, or named arrays as weights.

    Parameters
    ----------
    source
        A model of PyTorch, Keras, Flax NNX or Equinox; a mapping of names to arrays, nested as
        you like; pairs of a name and an array, such as ``module.named_parameters()``; or names.
    layout
        ``"torch"`` or ``"keras"``: as what name and shape of an array are taken, if no layer is
        there to ask.

    Raises
    ------
    ValueError
        If ``layout`` is neither of these.
    TypeError
        If it is none of that, or a Flax Linen module, which has no weights without its input.

    Examples
    --------
    >>> import numpy as np
    >>> [weight.name for weight in weights_of({"body": {"kernel": np.ones((3, 2))}})]
    ['body.kernel']
    """
    if layout is not None:
        by_shape.require_layout(layout)
    framework = _framework_of(source)
    if framework is not None:
        file = importlib.import_module(f"array_constraints.layers.{framework}")
        found: list[Weight] = file.weights_of(source)
        return found
    return [_with_layout(weight, layout) for weight in _named(source, "")]


def _framework_of(model: Any) -> str | None:
    for framework, (cls, file) in _MODELS.items():
        known = getattr(sys.modules.get(framework), cls, None)
        if known is not None and isinstance(model, known):
            return file
    return None


def _with_layout(weight: Weight, layout: str | None) -> Weight:
    if layout is None or weight.role is not None or weight.shape is None:
        return weight
    role, *others = [by_shape.role_of(name, weight.shape, layout) for name, _ in weight.places]
    ties = tuple([(name, other) for (name, _), other in zip(weight.ties, others, strict=True)])
    return dataclasses.replace(weight, role=role, ties=ties)


def _named(source: Any, prefix: str) -> Iterator[Weight]:
    if isinstance(source, Mapping):
        for name, array in source.items():
            yield from _named(array, f"{prefix}{name}.")
    elif prefix and hasattr(type(source), "shape"):
        yield Weight(prefix[:-1], source)
    elif isinstance(source, Iterable) and not isinstance(source, str):
        for i, entry in enumerate(source):
            yield from _entry(entry, prefix, i)
    else:
        where = f"{prefix[:-1]!r}: " if prefix else ""
        raise TypeError(
            f"{where}named weights are a mapping of names to arrays, pairs of both, or a "
            f"model, got {type(source).__name__}"
        )


def _entry(entry: Any, prefix: str, i: int) -> Iterator[Weight]:
    if isinstance(entry, Weight):
        yield entry
    elif isinstance(entry, str):
        yield Weight(prefix + entry)
    elif isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str):
        yield from _named(entry[1], f"{prefix}{entry[0]}.")
    elif prefix:
        yield from _named(entry, f"{prefix}{i}.")
    else:
        raise TypeError(
            "named weights are a mapping of names to arrays, pairs of both, or a model, got an "
            f"unnamed {type(entry).__name__}"
        )
