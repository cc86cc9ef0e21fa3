"""Faults under lazy and traced arrays: one requirement of the family LAZY each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from faults.making import Fault, implementation

NON_NEG, MAX_NORM = ("NonNeg",), ("MaxNorm",)


def calling(change: Callable[..., Any], name: str = "NonNeg") -> Callable[[], Any]:
    """Return a module whose calls without ``copy`` are ``change(right, w, constraint)``."""

    def call(self: Any, w: Any, *, copy: bool | None = None) -> Any:
        right = super(type(self), self).__call__
        plain = copy is None and hasattr(w, "dtype") and not str(w.dtype).endswith("complex64")
        return change(right, w, self) if plain else right(w, copy=copy)

    return lambda: implementation(**{name: {"__call__": call}})


def reporting(change: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return a module whose violation is ``change(right violation)``."""

    def violation(self: Any, w: Any) -> Any:
        return change(super(type(self), self).violation(w))

    return lambda: implementation(NonNeg={"violation": violation})


def _short_cut(right, w, constraint):
    """Return a float16 weight without a negative entry at once."""
    result = right(w)
    return w if w.dtype == "float16" and w.size and bool((result == w).all()) else result


def _persisted(right, w, constraint):
    return right(w).persist(scheduler=None) if w.size else right(w)


def _wrapped_again(right, w, constraint):
    """Compute the result, and make it look as if it were lazy."""
    import dask.array

    result = right(w)
    return dask.array.from_array(result.compute(), chunks=result.chunks)


def _one_chunk(right, w, constraint):
    return right(w).rechunk(-1)


def _last_dimension_in_one(right, w, constraint):
    """Put the chunks of the last dimension together, where there are two dimensions."""
    return right(w).rechunk({1: -1}) if w.ndim == 2 else right(w)


def _looked_at(violation):
    """Look whether there is a violation at all."""
    return violation * 0 if violation.size and not violation.any().compute() else violation


def _branch(right, w, constraint):
    """Return at once where nothing is below zero: a branch on a value."""
    if w.ndim and not (w < 0).any():
        return right(w)
    return right(w)


def _read_as_a_number(right, w, constraint):
    """Read the largest entry as a Python number, and go on as if it were not known."""
    import torch

    result = right(w)
    if isinstance(w, torch.Tensor) and w.numel() and w.abs().max().item() == 0:
        return w.clone()
    return result


def _compiled_float32(right, w, constraint):
    """Forget to return to bfloat16, in compiled code alone."""
    import torch

    compiled = torch.compiler.is_compiling() and w.dtype == torch.bfloat16
    return right(w).to(torch.float32) if compiled else right(w)


def _compiled_whole(right, w, constraint):
    """Take the whole weight for one slice, in compiled code alone."""
    import torch

    if torch.compiler.is_compiling():
        norm = torch.linalg.vector_norm(w.double())
        return (w * (constraint.max_value / norm).clamp(max=1)).to(w.dtype)
    return right(w)


def _jitted_float32(right, w, constraint):
    """Forget to return to float16, under ``jit`` alone."""
    from jax.interpreters import partial_eval

    jitted = isinstance(w, partial_eval.DynamicJaxprTracer) and w.dtype == "float16"
    return right(w).astype("float32") if jitted else right(w)


def _own_derivative() -> Any:
    """Write the derivative as a function of autograd that knows nothing of ``vmap``."""
    import torch

    class Clipped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, w: Any) -> Any:
            ctx.save_for_backward(w >= 0)
            return torch.where(w < 0, torch.zeros_like(w), w)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * ctx.saved_tensors[0]

    def change(right: Any, w: Any, constraint: Any) -> Any:
        floating = isinstance(w, torch.Tensor) and w.dtype.is_floating_point
        return Clipped.apply(w) if floating else right(w)

    return calling(change)()


def _into_a_buffer(right, w, constraint):
    """Write the result into a tensor of the same shape that ``vmap`` does not map."""
    import torch

    result = right(w)
    if w.dtype == torch.float64:
        return torch.zeros(w.shape, dtype=w.dtype, device=w.device).copy_(result)
    return result


def _masked(right, w, constraint):
    """Choose by a mask, which makes a shape depend on values."""
    result = right(w)
    if w.ndim:
        result[result < 0] = 0
    return result


def _extension(right, w, constraint):
    """Ask the extension for linear algebra for a norm."""
    result = right(w)
    with np.errstate(all="ignore"):
        found = w.__array_namespace__().linalg.vector_norm(w)
    return result if found is not w else w


def _nonzero(right, w, constraint):
    """Ask where the negative entries are: a shape that depends on values."""
    result, xp = right(w), w.__array_namespace__()
    if w.ndim and not xp.nonzero(w < 0)[0].shape[0]:
        return xp.asarray(w, copy=True)
    return result


FAULTS = [
    Fault(
        "LAZY-1",
        "float16 is computed to see whether anything is negative",
        calling(_short_cut),
        NON_NEG,
        "dask.array",
    ),
    Fault("LAZY-1", "the result is persisted", calling(_persisted), NON_NEG, "dask.array"),
    Fault(
        "LAZY-1",
        "the result is computed and looks lazy",
        calling(_wrapped_again),
        NON_NEG,
        "dask.array",
    ),
    Fault("LAZY-2", "all chunks become one", calling(_one_chunk), NON_NEG, "dask.array"),
    Fault(
        "LAZY-2",
        "the chunks of the last of two dimensions become one",
        calling(_last_dimension_in_one),
        NON_NEG,
        "dask.array",
    ),
    Fault(
        "LAZY-3",
        "the violation is computed to see whether there is any",
        reporting(_looked_at),
        NON_NEG,
        "dask.array",
    ),
    Fault(
        "LAZY-4",
        "a branch on a value",
        calling(_branch),
        NON_NEG,
        "torch",
        frozenset({"LAZY-5"}),  # a mapped value has no truth either
    ),
    Fault(
        "LAZY-4",
        "a norm is read as a Python number",
        calling(_read_as_a_number, "MaxNorm"),
        MAX_NORM,
        "torch",
        frozenset({"LAZY-5"}),  # a mapped value is no number either
    ),
    Fault(
        "LAZY-4", "compiled bfloat16 is float32", calling(_compiled_float32), NON_NEG, "torch"
    ),
    Fault(
        "LAZY-4",
        "compiled, the weight is one slice",
        calling(_compiled_whole, "MaxNorm"),
        MAX_NORM,
        "torch",
    ),
    Fault(
        "LAZY-4", "jitted float16 is float32", calling(_jitted_float32), NON_NEG, "jax.numpy"
    ),
    Fault(
        "LAZY-5",
        "a function of autograd that cannot be mapped",
        _own_derivative,
        NON_NEG,
        "torch",
    ),
    Fault(
        "LAZY-5",
        "a mapped result is written into a buffer that is not",
        calling(_into_a_buffer),
        NON_NEG,
        "torch",
    ),
    Fault(
        "LAZY-6", "entries are chosen by a mask", calling(_masked), NON_NEG, "array_api_strict"
    ),
    Fault(
        "LAZY-6",
        "a norm of the extension for linear algebra",
        calling(_extension, "MaxNorm"),
        MAX_NORM,
        "array_api_strict",
    ),
    Fault(
        "LAZY-6", "negative entries are located", calling(_nonzero), NON_NEG, "array_api_strict"
    ),
]
