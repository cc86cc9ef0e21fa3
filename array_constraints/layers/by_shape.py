"""The role of a weight of which only name and shape are known, in the layout of a framework."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from array_constraints.layers.weight import NO_UNITS, Role

Fitting: TypeAlias = Mapping[str, tuple[int, ...]]
"""The incoming axes of each type of layer that a name and a shape fit."""

TORCH, KERAS = "torch", "keras"
LAYOUTS = (TORCH, KERAS)
"""The frameworks whose order of dimensions is known."""

CONV1D = "transformers' Conv1D"
CONV1D_MODULES = ("c_attn", "c_fc", "c_proj", "q_attn")
"""Layers that GPT-2 and its family in transformers keep as (inputs, outputs), others not."""

Told: TypeAlias = Callable[[str, tuple[int, ...]], bool]
"""Whether what else is known allows a type of layer, with its incoming axes."""


def _nothing_told(layer: str, axes: tuple[int, ...]) -> bool:
    return True


def require_layout(layout: object) -> None:
    """Raise ValueError where a layout is not known."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be 'torch' or 'keras', got {layout!r}")


def role_of(name: str, shape: tuple[int, ...], layout: str, told: Told = _nothing_told) -> Role:
    """Return the role of a weight; its incoming axes only where one answer fits."""
    require_layout(layout)
    every = _FITTING[layout](name, len(shape))
    fitting = {layer: axes for layer, axes in every.items() if told(layer, axes)}
    if len(set(fitting.values())) == 1:
        return Role(next(iter(fitting)), None, next(iter(fitting.values())))
    if not fitting:
        few = len(shape) < 2 or _last(name) == "bias"
        why = NO_UNITS if few else f"no layer of {layout} has a weight of shape {shape}"
        if every:
            why = f"shape {shape} is none of {' and '.join(every)}, by what else is in the file"
        return Role(layout, None, why)
    both = " and of ".join(f"{layer} (axis {axes})" for layer, axes in fitting.items())
    why = f"shape {shape} is that of {both}: write the axis"
    return Role(layout, None, why, undecided=True)


def module_of(name: str) -> str:
    """Return the name of the module that a weight of PyTorch belongs to."""
    return name.removesuffix(".weight").rpartition(".")[2]


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1].partition(":")[0]


def _of_torch(name: str, ndim: int) -> Fitting:
    if _last(name) == "bias":  # a mask by that name in GPT-2 has more than one dimension
        return {}
    if ndim == 2:
        # All others that PyTorch has are alike: embeddings, recurrent layers, attention.
        return {"Linear": (1,)} | ({CONV1D: (0,)} if module_of(name) in CONV1D_MODULES else {})
    if not 3 <= ndim <= 5:
        return {}
    kernel = tuple(range(2, ndim))
    bilinear = {"Bilinear": (1, 2)} if ndim == 3 else {}
    d = f"{ndim - 2}d"
    return {f"Conv{d}": (1, *kernel), f"ConvTranspose{d}": (0, *kernel), **bilinear}


def _of_keras(name: str, ndim: int) -> Fitting:
    variable, kernel = _last(name), tuple(range(ndim - 2))
    d = f"{ndim - 2}D"
    if ndim < 2 or variable in ("bias", "gamma", "beta", "alpha"):
        return {}
    if variable == "depthwise_kernel":
        return {f"DepthwiseConv{d}": kernel} if ndim < 5 else {}
    if variable in ("recurrent_kernel", "pointwise_kernel"):
        return {variable: (*kernel, ndim - 2)}
    if ndim == 2:
        both = {"Dense": (0,), "Embedding": (1,)}
        only = {"kernel": "Dense", "embeddings": "Embedding"}.get(variable)
        return both if only is None else {only: both[only]}
    if ndim > 5:
        return {}
    fitting = {f"Conv{d}": (*kernel, ndim - 2), f"Conv{d}Transpose": (*kernel, ndim - 1)}
    if ndim < 5:
        fitting[f"DepthwiseConv{d}"] = kernel
    if ndim == 3:
        fitting["query of MultiHeadAttention"] = (0,)
    return fitting


_FITTING: dict[str, Callable[[str, int], Fitting]] = {TORCH: _of_torch, KERAS: _of_keras}
