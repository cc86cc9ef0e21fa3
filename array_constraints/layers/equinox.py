"""Modules of Equinox: the paths of their arrays, and what a unit of each layer is."""

from __future__ import annotations

from typing import Any

import equinox
import jax

from array_constraints.layers.pytrees import is_inexact, name_of
from array_constraints.layers.weight import MADE, Role, Weight

_NORMS = ("LayerNorm", "GroupNorm", "RMSNorm", "BatchNorm")


def weights_of(model: Any) -> list[Weight]:
    """Return the arrays of a module by their paths.

    A pytree of modules is taken, too, and what stands for arrays in it. One array at two paths
    is two weights, which part at the first step, unless ``equinox.nn.Shared`` ties them: then
    it has one path.
    """
    return [
        _weight(model, path, array)
        for path, array in jax.tree_util.tree_leaves_with_path(model)
        if is_inexact(array)
    ]


def _weight(model: Any, path: tuple[Any, ...], array: Any) -> Weight:
    """Follow a path to the layer that has the array, and ask that."""
    layer, holder, kind, refused = None, model, None, ""
    for key in path:
        if isinstance(holder, equinox.nn.WeightNorm | equinox.nn.SpectralNorm):
            makes = getattr(path[-1], "name", "") == holder.weight_name
            refused = MADE.format(type(holder).__name__) if makes else refused
        # What a layer keeps as its state is of that layer.
        if isinstance(holder, equinox.Module) and not isinstance(holder, equinox.nn.StateIndex):
            layer, attribute = holder, getattr(key, "name", "")
            if isinstance(holder, equinox.nn.MultiheadAttention):
                kind = "attention"
        holder = _child(holder, key)
    known = layer is not None
    role = _role_in(layer, attribute, kind) if known else Role.unknown("a pytree")
    return Weight(name_of(path), array, role, refused=refused)


def _child(holder: Any, key: Any) -> Any:
    if isinstance(key, jax.tree_util.GetAttrKey):
        return getattr(holder, key.name)
    if isinstance(key, jax.tree_util.SequenceKey):
        return holder[key.idx]
    return holder[key.key] if isinstance(key, jax.tree_util.DictKey) else None


def _role_in(layer: Any, attribute: str, kind: str | None) -> Role:
    nn, name = equinox.nn, type(layer).__name__
    if name in _NORMS and isinstance(layer, getattr(nn, name)):
        return Role.without_units(name, "norm")
    if attribute.startswith("bias"):
        return Role.without_units(name, "bias")
    if isinstance(layer, nn.Linear):
        return Role(name, kind or "dense", (1,), 2)
    if isinstance(layer, nn.Conv | nn.ConvTranspose):  # both (out, in / groups, *kernel)
        dims = layer.num_spatial_dims
        return Role(name, "conv", tuple(range(1, 2 + dims)), 2 + dims)
    if isinstance(layer, nn.Embedding):
        return Role(name, "embedding", (1,), 2)
    if isinstance(layer, nn.LSTMCell | nn.GRUCell):
        return Role(name, "recurrent", (1,), 2)
    return Role.unknown(name)
