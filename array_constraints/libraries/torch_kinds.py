"""What a tensor of PyTorch is beside a dense one, and where it lies."""

from __future__ import annotations

import sys
from typing import Any

import torch


def other_kind(w: Any) -> str | None:
    """Return why a tensor is not one with values of its own; None if it is."""
    if isinstance(w, torch.nn.parameter.UninitializedTensorMixin):
        return "without a shape yet: call its module once first"
    if isinstance(w, torch.masked.MaskedTensor):
        return "with operators of its own: pass w.to_tensor(value), masked entries filled"
    bias = sys.modules.get("torch.nn.attention.bias")
    if bias is not None and isinstance(w, bias.CausalBias):
        return "without values: pass a tensor that has them"
    return None


def address(w: Any) -> int:
    """Return where the entries of a tensor are, 0 for one that cannot be asked."""
    plain = type(w) in (torch.Tensor, torch.nn.Parameter) and w.layout is torch.strided
    recorded = w.requires_grad and torch.is_grad_enabled()
    if not plain or recorded or torch._C._functorch.is_functorch_wrapped_tensor(w):
        return 0
    return int(w.data_ptr())
