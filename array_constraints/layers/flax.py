"""Modules of Flax, NNX and Linen: the paths of their parameters, and what a unit is."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import jax

from array_constraints.layers.pytrees import name_of
from array_constraints.layers.weight import MADE, Role, Weight, summed_axes, tied

_KINDS = {
    "MultiHeadAttention": "attention",
    "MultiHeadDotProductAttention": "attention",
    "SelfAttention": "attention",
    **dict.fromkeys(
        ("LSTMCell", "OptimizedLSTMCell", "GRUCell", "MGUCell", "SimpleCell", "ConvLSTMCell"),
        "recurrent",
    ),
}
"""Layers that are made of others, whose weights are of their kind."""

_MAKERS = ("WeightNorm", "SpectralNorm")
"""Layers around another, whose weights they make of its own."""

_NORMS = ("LayerNorm", "BatchNorm", "GroupNorm", "RMSNorm", "InstanceNorm")


def weights_of(model: Any) -> list[Weight]:
    """Return the parameters of an NNX module by their paths, each once, with all of its names.

    Raises
    ------
    TypeError
        For a module of Linen, which has no parameters without an input.
    """
    from flax import nnx

    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"{type(model).__name__} is a module of Flax Linen, which does not hold its "
            "weights: pass described(module, variables['params'], *inputs) of "
            "array_constraints.integrations.jax, with an input for an example"
        )
    paths: dict[int, list[Weight]] = {}
    for path, above, variable in _parameters(model, (), ()):
        name, (role, refused) = ".".join(map(str, path)), _role(above, str(path[-1]))
        weight = Weight(name, variable.get_value(), role, refused=refused)
        paths.setdefault(id(variable), []).append(weight)
    named = {weight.name: found for found in paths.values() for weight in found}
    weights = []
    for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param)):  # each under one path
        name = ".".join(map(str, path))
        first, *others = sorted(named[name], key=lambda weight: weight.name != name)
        weights.append(functools.reduce(tied, others, first))
    return weights


def _parameters(
    node: Any, path: tuple[Any, ...], above: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], Any]]:
    """Yield the path of each parameter of NNX, and the modules above it: shared ones, too."""
    from flax import nnx

    if isinstance(node, nnx.Param):
        yield path, above, node
    elif isinstance(node, nnx.Module):
        if not any(node is module for module in above):
            for key, child in nnx.graph.get_node_impl(node).node_dict(node).items():
                yield from _parameters(child, (*path, key), (*above, node))
    elif isinstance(node, list | tuple | dict):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in pairs:
            yield from _parameters(child, (*path, key), above)


def described(module: Any, params: Any, *inputs: Any, **options: Any) -> list[Weight]:
    """Return the parameters of a Linen module, whose layers an example input makes known.

    Nothing is computed: the module is traced. Parameters of layers that this does not reach
    have the role of an unknown layer.

    Parameters
    ----------
    module, inputs, options
        The module, and what it is called with for an example.
    params
        Its parameters, or what ``module.init`` returns if there are only parameters in it.

    Raises
    ------
    ValueError
        If there are other collections beside the parameters.
    TypeError
        If ``module`` or ``params`` is something else.
    """
    from flax import linen

    if not isinstance(module, linen.Module) or not isinstance(params, Mapping):
        raise TypeError(
            "described takes a module of Flax Linen, its parameters, and an input, in this "
            f"order, got {type(module).__name__} and {type(params).__name__}"
        )

    modules: dict[tuple[str, ...], Any] = {}
    makes: dict[tuple[str, ...], Any] = {}

    def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        modules.setdefault(context.module.path, context.module)
        if _class_of_flax(context.module) in _MAKERS:
            makes[context.module.layer_instance.path] = context.module
        return call(*args, **kwargs)

    with linen.intercept_methods(record):
        jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, **options))
    collected = "params" in params and ("params",) not in modules
    if collected and len(params) > 1:
        raise ValueError(
            f"params has the collections {', '.join(params)}: pass variables['params'] alone"
        )
    weights = []
    for path, array in jax.tree_util.tree_leaves_with_path(params):
        names = tuple(name_of((key,)) for key in path)
        within = names[1:] if collected else names
        above = [modules[within[:i]] for i in range(len(within)) if within[:i] in modules]
        above += [makes[within[:i]] for i in range(len(within)) if within[:i] in makes]
        role, refused = _role(above, names[-1])
        weights.append(Weight(name_of(path), array, role, refused=refused))
    return weights


def _role(above: Iterable[Any], name: str) -> tuple[Role, str]:
    """Return the role of a parameter from the modules above it, the innermost last.

    And why it is refused, if the weight that its layer uses is made of it.
    """
    layers = [(_class_of_flax(module), module) for module in above]
    makers = [layer for layer, _ in layers if layer in _MAKERS]
    layers = [(layer, module) for layer, module in layers if layer not in _MAKERS]
    layer, module = layers[-1] if layers else (makers[-1], None)
    shown = layer or type(module).__name__
    if layer in _NORMS:
        return Role.without_units(layer, "norm"), ""
    if "bias" in name:
        return Role.without_units(shown, "bias"), ""
    refused = MADE.format(makers[-1]) if makers else ""
    usual, axes, ndim = _FOUND[layer](module) if layer in _FOUND else ("other", None, None)
    if axes is None:
        return Role.unknown(shown), refused
    kind = next((_KINDS[layer] for layer, _ in layers if layer in _KINDS), usual)
    return Role(layer, kind, axes, ndim), refused


def _class_of_flax(module: Any) -> str:
    """Return the name of a layer of Flax that a module is, nothing for one of the user's."""
    names = {*_KINDS, *_NORMS, *_FOUND, *_MAKERS}
    return next(
        (
            cls.__name__
            for cls in type(module).__mro__
            if cls.__name__ in names and cls.__module__.startswith("flax.")
        ),
        "",
    )


_Found: TypeAlias = tuple[str, tuple[int, ...] | None, int | None]


def _dense(module: Any) -> _Found:
    return "dense", (0,), 2


def _general(module: Any) -> _Found:
    """Batch dimensions come first, then the inputs, then the outputs."""
    # NNX has a mapping of axes, batch_axis; Linen a number or a sequence, batch_dims.
    batched = module.batch_axis if hasattr(module, "batch_axis") else module.batch_dims
    made = module.out_features if hasattr(module, "out_features") else module.features
    batch, inputs, outputs = map(_count, (batched, module.axis, made))
    return "dense", tuple(range(batch, batch + inputs)), batch + inputs + outputs


def _count(one_or_several: Any) -> int:
    return len(one_or_several) if isinstance(one_or_several, Collection) else 1


def _einsum(module: Any) -> _Found:
    equation = module.einsum_str  # Linen may get it in a call
    return "dense", summed_axes(equation) if equation else None, None


def _conv(module: Any) -> _Found:
    dims = _count(module.kernel_size)
    return "conv", tuple(range(dims + 1)), dims + 2


def _transposed(module: Any) -> _Found:
    """``(*kernel, in, out)``, or ``(*kernel, out, in)`` with ``transpose_kernel``."""
    dims = _count(module.kernel_size)
    channels = dims + 1 if module.transpose_kernel else dims
    return "conv", (*range(dims), channels), dims + 2


def _embedding(module: Any) -> _Found:
    return "embedding", (1,), 2


_FOUND = {
    "Dense": _dense,
    "Linear": _dense,
    "DenseGeneral": _general,
    "LinearGeneral": _general,
    "Einsum": _einsum,
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Embed": _embedding,
}
"""The kind and the incoming axes of each layer that has weights of its own."""
