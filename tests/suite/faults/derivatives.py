"""Faults of derivatives: right values with another gradient, one requirement of GRAD each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from array_constraints.parameters import axes_of
from faults.making import Fault, implementation


def surrogate(change: Callable[..., Any], name: str) -> Callable[[], Any]:
    """Return a module whose values are right and whose derivatives are those of a surrogate.

    It is ``change(constraint, w, result)``; ``w`` has zeros where the weight is not finite.
    """

    def call(self: Any, w: Any, *, copy: bool | None = None) -> Any:
        import torch

        right = super(type(self), self).__call__
        floating = isinstance(w, torch.Tensor) and w.dtype.is_floating_point
        result = right(w, copy=copy)
        if not (floating and copy is None and w.numel()):
            return result
        finite = torch.where(torch.isfinite(w), w, torch.zeros_like(w))
        other = change(self, finite, right(finite))
        other = torch.where(torch.isfinite(other), other, torch.zeros_like(other))
        return result.detach() - (other.detach() - other)  # -0.0 minus 0.0 is -0.0

    return lambda: implementation(**{name: {"__call__": call}})


def _on_jax(change: Callable[[Any], Any]) -> Any:
    """Return a module as that of ``surrogate``, for NonNeg on JAX."""

    def call(self: Any, w: Any, *, copy: bool | None = None) -> Any:
        import jax

        result = super(type(self), self).__call__(w, copy=copy)
        if not (isinstance(w, jax.Array) and jax.numpy.issubdtype(w.dtype, jax.numpy.floating)):
            return result
        other = change(jax.numpy.where(jax.numpy.isfinite(w), w, 0))
        stop = jax.lax.stop_gradient
        return stop(result) - (stop(other) - other)

    return implementation(NonNeg={"__call__": call})


def peak(constraint: Any, w: Any) -> Any:
    """Return the largest magnitude of each slice, without a derivative."""
    axes = axes_of(constraint, w)
    found = w.detach().abs()
    return found.amax(dim=axes, keepdim=True) if axes else found


def square(constraint: Any, w: Any) -> Any:
    """Return the sum of squares of each slice, in the dtype of the weight."""
    axes = axes_of(constraint, w)
    return (w * w).sum(dim=axes, keepdim=True) if axes else w * w


def moved(constraint: Any, w: Any, result: Any) -> Any:
    """Return whether each slice moved."""
    return peak(constraint, result.detach() - w.detach()) > 0


def _root_of_zero(self, w, result):
    """Add nothing times the norm, whose root has no derivative at zero."""
    import torch

    top = peak(self, w)
    unit = w / torch.where(top > 0, top, torch.ones_like(top))
    return result + 0 * square(self, unit).sqrt()


def _root_of_all(self, w, result):
    """Let the norms of all slices, zero ones too, enter into every slice."""
    import torch

    top = peak(self, w)
    if top.numel() < 2:
        return result
    unit = w / torch.where(top > 0, top, torch.ones_like(top))
    shared = 0 * square(self, unit).sqrt().sum()
    return torch.where(top > 0, result + shared, result)


def _half_at_zero(self, w, result):
    import torch

    return torch.maximum(w, torch.zeros_like(w))


def _none_at_zero(self, w, result):
    import torch

    return torch.relu(w)


def _leaking(self, w, result):
    """Let a hundredth of negative entries through, as a leaky rectifier does."""
    import torch

    return torch.where(w < 0, w / 100, w)


def _ratio(self, w, result):
    """Multiply what is kept by the norm over itself: 1 but for a roundoff of the derivative."""
    import torch

    top = peak(self, w)
    unit = w / torch.where(top > 0, top, torch.ones_like(top))
    norm = torch.where(top > 0, square(self, unit), torch.ones_like(top)).sqrt()
    return torch.where(moved(self, w, result), result, w * (norm * (1 / norm)))


def _underflow(self, w, result):
    """Take a slice whose squares underflow for a constant."""
    import torch

    lost = (square(self, w) == 0) & (peak(self, w) > 0)
    return torch.where(lost, result.detach(), result)


def _constant_norm(self, w, result):
    """Take the norm for a constant, as under no_grad."""
    import torch

    axes = axes_of(self, w)
    norm = torch.linalg.vector_norm(w.detach().double(), dim=axes, keepdim=True)
    norm = torch.where(moved(self, w, result), norm, torch.ones_like(norm))
    scaled = (w.double() * (self.max_value / norm)).to(w.dtype)
    return torch.where(moved(self, w, result), scaled, result)


def _through_float32(self, w, result):
    """Let the derivative of float64 pass through float32."""
    import torch

    if w.dtype != torch.float64 or not w.ndim:
        return result
    narrow = torch.where(peak(self, w) < 1e38, w, torch.zeros_like(w)).to(torch.float32)
    passed = super(type(self), self).__call__(narrow.to(torch.float64))
    return torch.where(moved(self, w, result), passed, result)


def _share_forgotten(self, w, result):
    """Forget the share of the slice itself, where only a share of the way is gone."""
    import torch

    own = w * (1 - self.rate)
    return torch.where(moved(self, w, result), result - own, result)


def _identity_where_kept(self, w, result):
    import torch

    return torch.where(moved(self, w, result), result, w)


def _constant_where_kept(self, w, result):
    """Keep a unit slice as a constant."""
    import torch

    kept = (peak(self, w) > 0) & ~moved(self, w, result)
    return torch.where(kept, w.detach(), result)


def _identity_along_axes(self, w, result):
    """Return a slice with one entry that is not zero as it is."""
    import torch

    single = square(self, w.detach()) == peak(self, w) ** 2
    return torch.where(moved(self, w, result) | ~single, result, w)


def _squares_underflow(self, w, result):
    """Add nothing times a norm whose squares underflow for small slices that are not zero."""
    import torch

    held = w.clamp(-1, 1)
    top = peak(self, w)
    total = torch.where(top > 0, square(self, held), torch.ones_like(top))
    return result + 0 * total.sqrt()


def _squares_overflow(self, w, result):
    """Add nothing times the root of one over a sum of squares that overflows."""
    import torch

    total = square(self, w)
    total = torch.where(total > 1, total, torch.ones_like(total))
    return result + 0 * (1 / total).sqrt()


def _widened_twice(self, w, result):
    """Widen once for the norm and once for the product: each cotangent is rounded alone."""
    import torch

    if w.dtype == torch.float64 or not w.ndim:
        return result
    top = peak(self, w)
    norm = torch.where(top > 0, square(self, w.double()), torch.ones_like(top.double())).sqrt()
    return torch.where(top > 0, (w.double() / norm).to(w.dtype), result)


def _root_of_square(w):
    """Add nothing times the magnitude, taken as the root of a square."""
    import jax.numpy as jnp

    held = jnp.clip(w, -1, 1)
    return jnp.where(w < 0, 0, w) + 0 * jnp.sqrt(held * held)


def _jax_maximum(w):
    import jax.numpy as jnp

    return jnp.maximum(w, jnp.zeros_like(w))


def torch_fault(breaks: str, summary: str, change: Any, name: str, *also: str) -> Fault:
    return Fault(breaks, summary, surrogate(change, name), (name,), "torch", frozenset(also))


def jax_fault(breaks: str, summary: str, change: Any, *also: str) -> Fault:
    """Return a fault of NonNeg on JAX."""
    made = partial(_on_jax, change)
    return Fault(breaks, summary, made, ("NonNeg",), "jax.numpy", frozenset(also))


FAULTS = [
    torch_fault("GRAD-1", "the root of a zero sum of squares", _root_of_zero, "UnitNorm"),
    torch_fault(
        "GRAD-1", "the root of a zero slice enters into the others", _root_of_all, "UnitNorm"
    ),
    torch_fault(
        "GRAD-1",
        "the root of a zero sum of squares, where zero is satisfied",
        _root_of_zero,
        "MaxNorm",
        "GRAD-2",
    ),
    # An entry of zero is satisfied, so that its derivative should be 1.
    jax_fault("GRAD-1", "the magnitude is the root of a square", _root_of_square, "GRAD-2"),
    torch_fault("GRAD-2", "half at zero", _half_at_zero, "NonNeg"),
    torch_fault("GRAD-2", "nothing at zero", _none_at_zero, "NonNeg"),
    jax_fault("GRAD-2", "half at zero", _jax_maximum),
    torch_fault("GRAD-2", "a roundoff of the norm where nothing moves", _ratio, "MaxNorm"),
    torch_fault(
        "GRAD-2", "slices whose squares underflow are constants", _underflow, "MaxNorm"
    ),
    torch_fault("GRAD-3", "the norm is a constant", _constant_norm, "MaxNorm"),
    torch_fault(
        "GRAD-3", "the derivative of float64 is one of float32", _through_float32, "MaxNorm"
    ),
    torch_fault("GRAD-3", "the share that stays is forgotten", _share_forgotten, "MinMaxNorm"),
    torch_fault("GRAD-4", "the identity on unit slices", _identity_where_kept, "UnitNorm"),
    torch_fault("GRAD-4", "unit slices are constants", _constant_where_kept, "UnitNorm"),
    torch_fault(
        "GRAD-4", "the identity on unit slices with one entry", _identity_along_axes, "UnitNorm"
    ),
    torch_fault("GRAD-5", "squares underflow under the root", _squares_underflow, "UnitNorm"),
    torch_fault("GRAD-5", "squares overflow under the root", _squares_overflow, "MaxNorm"),
    torch_fault("GRAD-5", "the weight is widened twice", _widened_twice, "UnitNorm"),
    torch_fault("GRAD-6", "negative entries leak", _leaking, "NonNeg"),
]
