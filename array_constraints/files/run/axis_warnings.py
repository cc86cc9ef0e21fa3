"""Warnings of the most common mistake, the wrong axis, where the file shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from array_constraints.files.formats.base import Source, Tensor
from array_constraints.files.run.work import TensorWork
from array_constraints.files.run.work_on_slices import SlicesWork

_CONV1D = ("c_attn", "c_fc", "c_proj", "q_attn")
"""Layers that GPT-2 and its family in transformers keep as (inputs, outputs), others not."""
_EMBEDDINGS = ("emb", "shared", "token_embd", "tok_emb", "pos_emb", "wpe", "wte")

_SINGLE = "each slice has one entry"
_TORCH = (
    "torch keeps (outputs, inputs), most often: then a slice is what one input gives to all "
    "outputs, and the incoming weights of one output are those along axis 1"
)
_OUTPUTS_FIRST = (
    "the bias has an entry for each row, so a slice is what one input gives to all outputs; "
    "the incoming weights of one output are those along axis 1"
)
_INPUTS_FIRST = (
    "the bias has an entry for each column, so a slice is what one input gives to all outputs; "
    "the incoming weights of one output are those along axis 0"
)
_EMBEDDING = (
    "a row of an embedding is the vector of one entry of its vocabulary, most often: then a "
    "slice is one feature of all entries, and the vector of one entry lies along axis 1"
)


class _Selected(Protocol):
    @property
    def work(self) -> TensorWork: ...


def warnings_of(source: Source, items: Sequence[_Selected]) -> Iterator[str]:
    """Warn of what looks like the wrong axis: each mistake once, with its first tensor."""
    found: dict[str, list[TensorWork]] = {}
    conv1d = _kept_by_conv1d(source.tensors) if source.torch_style else None
    for work in (item.work for item in items):
        if isinstance(work, SlicesWork) and work.tensor.entries:
            said = _said(work, source, conv1d)
            if said:
                found.setdefault(said, []).append(work)
    for said, works in found.items():
        tensor, more = works[0].tensor, len(works) - 1
        shown = f"{tensor.name!r} of shape {tensor.shape}, axes {works[0].axes}"
        yield f"{shown} (and {more} more): {said}" if more else f"{shown}: {said}"


def _said(work: TensorWork, source: Source, conv1d: int | None) -> str | None:
    tensor, axes = work.tensor, work.axes
    if math.prod([tensor.shape[i] for i in axes]) == 1:
        return _SINGLE
    if not source.torch_style or len(tensor.shape) != 2 or len(axes) != 1:
        return None
    module, outputs = _module(tensor), _outputs(tensor, source.tensors)
    if outputs is None and module in _CONV1D:
        if conv1d is None:
            return None
        outputs = conv1d
    if outputs is not None:  # slices run along the outputs
        wrong = (_OUTPUTS_FIRST, _INPUTS_FIRST)[outputs]
        return wrong if axes == (outputs,) else None
    if axes != (0,):
        return None
    return _EMBEDDING if "embed" in module or module in _EMBEDDINGS else _TORCH


def _module(tensor: Tensor) -> str:
    return tensor.name.removesuffix(".weight").rpartition(".")[2].lower()


def _outputs(tensor: Tensor, tensors: Mapping[str, Tensor]) -> int | None:
    """Return the dimension of the outputs, if the length of the bias says which it is."""
    if not tensor.name.endswith(".weight"):
        return None
    bias = tensors.get(f"{tensor.name.removesuffix('.weight')}.bias")
    rows, columns = tensor.shape
    if bias is None or rows == columns or bias.shape not in ((rows,), (columns,)):
        return None
    return 0 if bias.shape == (rows,) else 1


def _kept_by_conv1d(tensors: Mapping[str, Tensor]) -> int | None:
    """Return the dimension of the outputs of all layers named as in GPT-2, if one shows it."""
    for tensor in tensors.values():
        if len(tensor.shape) == 2 and _module(tensor) in _CONV1D:
            outputs = _outputs(tensor, tensors)
            if outputs is not None:
                return outputs
    return None
