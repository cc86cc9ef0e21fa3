"""Warnings of the most common mistake, the wrong axis, where the file shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

from array_constraints.files.formats.base import Source, Tensor
from array_constraints.files.options import Options
from array_constraints.files.run.layers import OfPyTorch, of_keras
from array_constraints.files.run.work import TensorWork
from array_constraints.files.run.work_on_slices import SlicesWork
from array_constraints.layers import KERAS, TORCH, Role, Weight
from array_constraints.layers.by_shape import module_of

_EMBEDDINGS = ("emb", "shared", "token_embd", "tok_emb", "pos_emb", "wpe", "wte")

_SINGLE = "each slice has one entry"
_VECTOR = (
    "all of it is one slice; what has one dimension is the gain of a normalization or a bias, "
    "most often: ndim=2 leaves those alone"
)
_TORCH = (
    "torch keeps (outputs, inputs), most often: then a slice is what one input gives to all "
    "outputs, and the incoming weights of one output are those along axis 1"
)
_CONVOLUTION = (
    "torch keeps a convolution as (outputs, inputs, ...), and a transposed one as (inputs, "
    "outputs, ...): the incoming weights of one output are those along all axes but that of "
    "the outputs"
)
_OUTPUTS_FIRST = (
    "the bias has an entry for each row, so a slice is what one input gives to all outputs; "
    "the incoming weights of one output are those along axis 1"
)
_INPUTS_FIRST = (
    "the bias has an entry for each column, so a slice is what one input gives to all outputs; "
    "the incoming weights of one output are those along axis 0"
)
_GPT_2 = (
    "this type of transformer keeps (inputs, outputs), so a slice is what one input gives to "
    "all outputs; the incoming weights of one output are those along axis 0"
)
_EMBEDDING = (
    "a row of an embedding is the vector of one entry of its vocabulary, most often: then a "
    "slice is one feature of all entries, and the vector of one entry lies along axis 1"
)


class _Selected(Protocol):
    @property
    def work(self) -> TensorWork: ...


def warnings_of(source: Source, options: Options, items: Sequence[_Selected]) -> Iterator[str]:
    """Warn of what looks like the wrong axis: each mistake once, with its first tensor."""
    found: dict[str, list[TensorWork]] = {}
    layout = options.layout or source.layout
    of_torch = source.torch_style if layout is None else layout == TORCH
    known = OfPyTorch(source, options) if of_torch else None
    for work in (item.work for item in items):
        if isinstance(work, SlicesWork) and work.tensor.entries:
            if math.prod([work.tensor.shape[i] for i in work.axes]) == 1:
                said: str | None = _SINGLE
            elif (layout or known) and _is_given_vector(work):
                said = _VECTOR
            else:
                said = _said_of_layer(work, layout, known)
            if said:
                found.setdefault(said, []).append(work)
    for said, works in found.items():
        tensor, more = works[0].tensor, len(works) - 1
        shown = f"{tensor.name!r} of shape {tensor.shape}, axes {works[0].axes}"
        yield f"{shown} (and {more} more): {said}" if more else f"{shown}: {said}"


def _said_of_layer(work: TensorWork, layout: str | None, known: OfPyTorch | None) -> str | None:
    """Return what is wrong about the axis, and whether one that is incoming would be right."""
    tensor = work.tensor
    if layout == KERAS:
        role = of_keras(Weight(tensor.name, tensor)).role
        said = _said_of_keras(work, role) if role else None
    elif known:
        role = known.role(tensor.name, tensor.shape)
        said = _said_of_torch(work, role, known)
    else:
        return None
    if said is None or layout is None or role is None or isinstance(role.incoming, str):
        return said
    return f"{said}: axis='incoming' takes those"


def _is_given_vector(work: TensorWork) -> bool:
    """Whether a tensor has one dimension, and the axis is a number, such as the default."""
    given = isinstance(getattr(work.constraint, "axis", None), int)
    return bool(work.axes) and given and len(work.tensor.shape) == 1


def _said_of_keras(work: TensorWork, role: Role) -> str | None:
    tensor, axes = work.tensor, work.axes
    if isinstance(role.incoming, str) or axes == role.incoming:
        return None
    if len(axes) == len(tensor.shape) or (len(axes) > 1 and set(axes) < set(role.incoming)):
        return None  # all of it as one slice, or each kernel of two dimensions
    several = len(role.incoming) > 1
    along = f"axes {role.incoming}" if several else f"axis {role.incoming[0]}"
    if role.layer == "embedding":
        return f"the vector of one entry of the vocabulary of this embedding lies along {along}"
    return f"the incoming weights of one output of this {role.layer} are those along {along}"


def _said_of_torch(work: TensorWork, role: Role, known: OfPyTorch) -> str | None:
    tensor, axes = work.tensor, work.axes
    if 3 <= len(tensor.shape) <= 5:
        if not tensor.name.endswith("weight"):  # experts, stacked
            return None
        both = {0, 1} <= set(axes) and len(axes) < len(tensor.shape)
        return _CONVOLUTION if both or axes in ((0,), (1,)) else None
    if len(axes) != 1 or len(tensor.shape) != 2:
        return None
    incoming = role.incoming
    if isinstance(incoming, str) or axes == incoming:
        return None
    if incoming == (0,):
        return _INPUTS_FIRST if known.bias(tensor.name) == tensor.shape[1] else _GPT_2
    if known.outputs(tensor.name, tensor.shape) == 0:
        return _OUTPUTS_FIRST
    return _EMBEDDING if _is_embedding(tensor) else _TORCH


def _is_embedding(tensor: Tensor) -> bool:
    module = module_of(tensor.name).lower()
    return "embed" in module or module in _EMBEDDINGS
