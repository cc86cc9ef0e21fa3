"""Writing into arrays: what each library allows, asked before anything is written."""

from __future__ import annotations

import collections
from typing import Any


def numpy_unwritable(w: Any) -> str | None:
    if not w.flags.writeable:
        return "a read-only array"
    return _overlapping(w.shape, w.strides, w.itemsize)


def torch_unwritable(w: Any) -> str | None:
    import torch

    owner = w if w._base is None else w._base
    if owner.is_leaf and owner.requires_grad and torch.is_grad_enabled():
        return "a leaf that requires grad while grad mode is on (use torch.no_grad())"
    tracing = torch.compiler.is_compiling()  # cannot be asked about inference mode
    if not tracing and w.is_inference() and not torch.is_inference_mode_enabled():
        return "an inference tensor outside inference mode"
    return _overlapping(w.shape, w.stride(), 1)


def numpy_memories(arrays: list[Any]) -> list[Any]:
    """Return what plain arrays of one memory have in common; None for one on its own."""
    import numpy

    if all(w.base is None for w in arrays):  # no two arrays own the same memory
        return [None] * len(arrays)
    return [
        (w.__array_interface__["data"][0], w.dtype, w.shape, w.strides)
        if type(w) in (numpy.ndarray, numpy.memmap) and w.size
        else None
        for w in arrays
    ]


def torch_memories(arrays: list[Any]) -> list[Any]:
    """Return what plain tensors of one memory have in common; None for one on its own.

    Where they are traced, mapped over or recorded, equal memory is no equal result.
    """
    import torch

    if (
        torch._C._len_torch_dispatch_stack()
        or torch._C._get_tracing_state() is not None
        or torch.autograd.forward_ad._current_level >= 0
    ):
        return [None] * len(arrays)
    addresses = [_torch_address(w) for w in arrays]
    shared = collections.Counter(addresses)
    return [
        (w.device, at, w.dtype, w.shape, w.stride(), w.is_neg(), w.is_conj())
        if at and shared[at] > 1
        else None
        for w, at in zip(arrays, addresses, strict=True)
    ]


def _torch_address(w: Any) -> int:
    """Return where the entries of a tensor are, 0 for one that cannot be asked."""
    import torch

    plain = type(w) in (torch.Tensor, torch.nn.Parameter) and w.layout is torch.strided
    recorded = w.requires_grad and torch.is_grad_enabled()
    if not plain or recorded or torch._C._functorch.is_functorch_wrapped_tensor(w):
        return 0
    return int(w.data_ptr())


def _overlapping(shape: tuple[int, ...], strides: tuple[int, ...], unit: int) -> str | None:
    """Say so where entries may share memory: a stride does not clear the shorter ones."""
    reach = unit
    pairs = zip(map(abs, strides), shape, strict=True)
    for stride, n in sorted(pair for pair in pairs if pair[1] > 1):
        if stride < reach:
            return "an expanded array, whose entries share memory"
        reach += (n - 1) * stride
    return None


def torch_write(w: Any, result: Any) -> None:
    try:
        w.copy_(result)  # recorded by autograd
    except RuntimeError as error:  # a view that torch does not let be written
        raise ValueError(f"copy=False cannot write into this tensor: {error}") from error


def always_unwritable(w: object) -> str | None:
    return "an immutable array"


def assign(w: Any, result: Any) -> None:
    try:
        w[...] = result
    except (TypeError, ValueError) as error:  # a library that cannot be asked beforehand
        raise ValueError(f"copy=False cannot write into this array: {error}") from error
