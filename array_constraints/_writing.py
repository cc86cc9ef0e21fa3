"""Writing into arrays: what each library allows, asked before anything is written."""

from __future__ import annotations

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


def numpy_owner(w: Any) -> int:
    return id(w if w.base is None else w.base)


def numpy_memory(w: Any) -> Any:
    if not w.size:
        return id(w)
    return w.__array_interface__["data"][0], w.dtype, w.shape, w.strides


def torch_owner(w: Any) -> int:
    import torch

    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(w)
    return id(w) if wrapped or w.layout is not torch.strided else int(w.data_ptr())


def torch_memory(w: Any) -> Any:
    import torch

    recorded = w.requires_grad and torch.is_grad_enabled()
    if recorded or w.device.type == "meta" or not w.numel():
        return id(w)
    return w.device, w.data_ptr(), w.dtype, w.shape, w.stride()


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
