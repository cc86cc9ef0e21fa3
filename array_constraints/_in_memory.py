"""Arrays at hand in memory, whose values may be read: what each library does fastest there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class InMemory:
    """How one library works on arrays at hand, in blocks that stay in the caches."""

    holds: Callable[[Any], bool]
    """Whether an array is at hand: nobody traces, records or maps over it."""
    by_type: bool
    """Whether the type and the dtype of an array alone say so."""
    partial_from: int
    """Entries from which partial sums in float32 are faster than sums in float64."""
    squares: Callable[[Any, tuple[int, ...]], Any]
    """The sums of squares over axes, in float64, dimensions kept."""
    squares_each: Callable[[list[Any], tuple[int, ...]], Any]
    """The same of each of many arrays that are alike, stacked: no bit of them is another."""
    sum_squares_middle: Callable[[Any], Any]
    """The sums of squares of a three-dimensional array over its second dimension."""
    sum_middle: Callable[[Any], Any]
    """The sums, in float64, of a three-dimensional array over its second dimension."""
    largest: Callable[[Any], float]
    smallest: Callable[[Any], float]
    number: Callable[[float], Any]
    """A number in float64, to compute with arrays."""
    multiply: Callable[[Any, Any, Any], Any]
    """An array times a factor, into a third."""
    multiply_each: Callable[[list[Any], list[Any]], list[Any]]
    """Arrays times factors, pair by pair, as new arrays."""
    rows_with_any: Callable[[Any], list[bool]]
    """Which indices of the first dimension have anything that is true."""
    memory_order: Callable[[Any], tuple[int, ...] | None]
    """The dimensions from the longest stride to the shortest; None if that is how they are."""
    empty_like: Callable[[Any], Any]


def numpy_holds(w: Any) -> bool:
    import numpy

    return type(w) in (numpy.ndarray, numpy.memmap) and w.dtype.isnative


def numpy_squares(w: Any, axes: tuple[int, ...]) -> Any:
    import numpy

    v = w.astype(numpy.float64)
    return numpy.add.reduce(v * v, axis=axes, keepdims=True)


_SCRATCH = 2**15  # entries in float64 that stay in the caches
_STACKED = 2**19


def numpy_squares_each(arrays: list[Any], axes: tuple[int, ...]) -> Any:
    import numpy

    shape = arrays[0].shape
    kept = tuple([1 if i in axes else n for i, n in enumerate(shape)])
    most = max(1, _SCRATCH // arrays[0].size)
    # Pages that are not touched cost nothing; and the C library keeps the memory of results
    # for the next call once it has seen a larger array being freed.
    scratch = numpy.empty((max(most, _STACKED // arrays[0].size), *shape))[:most]
    found = numpy.empty((len(arrays), *kept))
    inner = tuple([i + 1 for i in axes])
    for start in range(0, len(arrays), most):
        some = arrays[start : start + most]
        part = scratch[: len(some)]
        numpy.concatenate(some, out=part.reshape(-1, *shape[1:]))
        numpy.multiply(part, part, out=part)
        numpy.add.reduce(part, axis=inner, keepdims=True, out=found[start : start + len(some)])
    return found


def numpy_multiply(w: Any, factor: Any, out: Any) -> Any:
    import numpy

    return numpy.multiply(w, factor, out=out)


def numpy_multiply_each(arrays: list[Any], factors: list[Any]) -> list[Any]:
    return [w * factor for w, factor in zip(arrays, factors, strict=True)]


def numpy_rows_with_any(x: Any) -> list[bool]:
    found: list[bool] = x.reshape(x.shape[0], -1).any(axis=1).tolist()
    return found


def numpy_memory_order(w: Any) -> tuple[int, ...] | None:
    return None if w.flags.c_contiguous else _by_stride(w.strides)


def numpy_empty_like(w: Any) -> Any:
    import numpy

    return numpy.empty_like(w, subok=False)


def numpy_sum_squares_middle(x: Any) -> Any:
    import numpy

    return numpy.einsum("nks,nks->ns", x, x)


def numpy_sum_middle(x: Any) -> Any:
    import numpy

    return numpy.einsum("nks->ns", x.astype(numpy.float64, copy=False))


def torch_holds(w: Any) -> bool:
    import torch

    return (
        type(w) in (torch.Tensor, torch.nn.Parameter)
        and w.device.type == "cpu"
        and w.layout is torch.strided
        and not torch.compiler.is_compiling()
        and not (w.requires_grad and torch.is_grad_enabled())
        and not torch._C._functorch.is_functorch_wrapped_tensor(w)
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._get_tracing_state() is None
        and torch.autograd.forward_ad._current_level < 0
    )


def torch_squares(w: Any, axes: tuple[int, ...]) -> Any:
    import torch

    v = w.to(torch.float64)
    return torch.sum(v * v, dim=axes, keepdim=True) if axes else v * v


def torch_squares_each(arrays: list[Any], axes: tuple[int, ...]) -> Any:
    import torch

    most, inner = max(1, _SCRATCH // arrays[0].numel()), tuple([i + 1 for i in axes])
    parts = [
        torch_squares(torch.stack(arrays[start : start + most]), inner)
        for start in range(0, len(arrays), most)
    ]
    return torch.cat(parts)


def torch_sum_squares_middle(x: Any) -> Any:
    import torch

    return torch.sum(x * x, dim=1)


def torch_sum_middle(x: Any) -> Any:
    """Sum over the last dimension where the third is 1: it would be the inner loop."""
    import torch

    if x.shape[2] == 1:
        return torch.sum(x.squeeze(2), dim=1, keepdim=True, dtype=torch.float64)
    return torch.sum(x, dim=1, dtype=torch.float64)


def torch_number(x: float) -> Any:
    import torch

    return torch.tensor(x, dtype=torch.float64, device="cpu")


def torch_multiply(w: Any, factor: Any, out: Any) -> Any:
    import torch

    return torch.mul(w, factor, out=out)


def torch_multiply_each(arrays: list[Any], factors: list[Any]) -> list[Any]:
    import torch

    return list(torch._foreach_mul(arrays, factors)) if arrays else []


def torch_rows_with_any(x: Any) -> list[bool]:
    found: list[bool] = x.reshape(x.shape[0], -1).any(dim=1).tolist()
    return found


def torch_memory_order(w: Any) -> tuple[int, ...] | None:
    return None if w.is_contiguous() else _by_stride(w.stride())


def torch_empty_like(w: Any) -> Any:
    import torch

    return torch.empty_like(w)


def _by_stride(strides: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(strides)), key=lambda i: -abs(strides[i])))
