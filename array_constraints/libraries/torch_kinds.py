"""What a tensor of PyTorch is beside a dense one, and where it lies."""

from __future__ import annotations

import collections
import sys
from collections.abc import Hashable
from typing import Any

import torch


def refused(w: Any) -> str | None:
    """Return what kind of tensor ``w`` is, if not a dense one with values of its own."""
    plain = type(w) is torch.Tensor or type(w) is torch.nn.Parameter
    kind = None if plain else _other_kind(w)
    if kind is not None:
        return kind
    if w.is_nested:
        return "that is nested: pass the tensors of w.unbind()"
    return None if w.layout is torch.strided else f"of layout {w.layout}: make it dense first"


def is_plain(w: Any) -> bool:
    """Whether ``w`` is dense, and nobody traces, records or maps over it."""
    return (
        type(w) in (torch.Tensor, torch.nn.Parameter)
        and w.layout is torch.strided
        and not torch.compiler.is_compiling()
        and not (w.requires_grad and torch.is_grad_enabled())
        and not torch._C._functorch.is_functorch_wrapped_tensor(w)
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._get_tracing_state() is None
        and torch.autograd.forward_ad._current_level < 0
        and w.ndim > 0
        and w.numel() > 0
    )


def memories(arrays: list[Any]) -> list[Hashable | None]:
    """Return what plain tensors of one memory share; where it is no equal result, None."""
    if (
        torch._C._len_torch_dispatch_stack()
        or torch._C._get_tracing_state() is not None
        or torch.autograd.forward_ad._current_level >= 0
    ):
        return [None] * len(arrays)
    addresses = [_address(w) for w in arrays]
    shared = collections.Counter(addresses)
    return [
        (w.device, at, w.dtype, w.shape, w.stride(), w.is_neg(), w.is_conj())
        if at and shared[at] > 1
        else None
        for w, at in zip(arrays, addresses, strict=True)
    ]


def _other_kind(w: Any) -> str | None:
    if isinstance(w, torch.nn.parameter.UninitializedTensorMixin):
        return "without a shape yet: call its module once first"
    if isinstance(w, torch.masked.MaskedTensor):
        return "with operators of its own: pass w.to_tensor(value), masked entries filled"
    bias = sys.modules.get("torch.nn.attention.bias")
    if bias is not None and isinstance(w, bias.CausalBias):
        return "without values: pass a tensor that has them"
    return None


def _address(w: Any) -> int:
    """Return where the entries of a tensor are, 0 for one that cannot be asked."""
    plain = type(w) in (torch.Tensor, torch.nn.Parameter) and w.layout is torch.strided
    recorded = w.requires_grad and torch.is_grad_enabled()
    if not plain or recorded or torch._C._functorch.is_functorch_wrapped_tensor(w):
        return 0
    return int(w.data_ptr())
