"""Modules of Flax, NNX and Linen: the paths of their parameters, and what a unit is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax

from array_constraints.layers.pytrees import name_of
from array_constraints.layers.weight import Role, Weight, summed_axes

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

_NORMS = ("LayerNorm", "BatchNorm", "GroupNorm", "RMSNorm", "InstanceNorm")


def weights_of(model: Any) -> list[Weight]:
    """Return the parameters of an NNX module by their paths, each once.

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
    modules = dict(nnx.iter_modules(model))
    weights = []
    for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        above = [modules[path[:i]] for i in range(len(path)) if path[:i] in modules]
        array = variable.get_value()
        weights.append(Weight(".".join(map(str, path)), array, _role(above, str(path[-1]))))
    return weights


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

    def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        modules.setdefault(context.module.path, context.module)
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
        weights.append(Weight(name_of(path), array, _role(above, names[-1])))
    return weights


def _role(above: Iterable[Any], name: str) -> Role:
    """Return the role of a parameter from the modules above it, the innermost last."""
    *_, module = above = list(above)
    layers = [_class_of_flax(m) for m in above]
    kind = next((_KINDS[layer] for layer in layers if layer in _KINDS), None)
    layer = layers[-1]
    if layer in _NORMS:
        return Role.without_units(layer, "norm")
    if "bias" in name:
        return Role.without_units(layer or type(module).__name__, "bias")
    usual, axes = _FOUND[layer](module) if layer in _FOUND else ("other", None)
    if axes is None:
        return Role.unknown(type(module).__name__)
    return Role(layer, kind or usual, axes)


def _class_of_flax(module: Any) -> str:
    """Return the name of a layer of Flax that a module is, nothing for one of the user's."""
    names = {*_KINDS, *_NORMS, *_FOUND}
    return next(
        (
            cls.__name__
            for cls in type(module).__mro__
            if cls.__name__ in names and cls.__module__.startswith("flax.")
        ),
        "",
    )


def _dense(module: Any) -> tuple[str, tuple[int, ...]]:
    return "dense", (0,)


def _general(module: Any) -> tuple[str, tuple[int, ...]]:
    """Batch dimensions come first, then the inputs, then the outputs."""
    # NNX has a mapping of axes, batch_axis; Linen a number or a sequence, batch_dims.
    batched = module.batch_axis if hasattr(module, "batch_axis") else module.batch_dims
    batch, inputs = (len(v) if isinstance(v, Collection) else 1 for v in (batched, module.axis))
    return "dense", tuple(range(batch, batch + inputs))


def _einsum(module: Any) -> tuple[str, tuple[int, ...] | None]:
    equation = module.einsum_str
    return "dense", summed_axes(equation) if equation else None  # Linen may get it in a call


def _conv(module: Any) -> tuple[str, tuple[int, ...]]:
    kernel = module.kernel_size
    return "conv", tuple(range((len(kernel) if isinstance(kernel, Collection) else 1) + 1))


def _transposed(module: Any) -> tuple[str, tuple[int, ...]]:
    """``(*kernel, in, out)``, or ``(*kernel, out, in)`` with ``transpose_kernel``."""
    _, axes = _conv(module)
    return "conv", (*axes[:-1], axes[-1] + 1) if module.transpose_kernel else axes


def _embedding(module: Any) -> tuple[str, tuple[int, ...]]:
    return "embedding", (1,)


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
