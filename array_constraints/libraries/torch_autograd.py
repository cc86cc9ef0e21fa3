"""Maps whose derivative is stated, on PyTorch: recorded by autograd, or in operations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

Value = Callable[[Any], Any]
Derivative = Callable[[Any, Any], Any]


def stated(value: Value, derivative: Derivative, w: Any) -> Any:
    """Return ``value(w)``, with ``derivative(w, t)`` as its derivative along ``t``."""
    backward = w.requires_grad and torch.is_grad_enabled()
    if torch._C._get_tracing_state() is not None:  # which traces once more, not recording
        return _in_operations(value, derivative, w)
    if torch.compiler.is_compiling():
        recorded = backward or torch._C._are_functorch_transforms_active()
        return _in_operations(value, derivative, w) if recorded else value(w)
    if backward:
        w = w.clone()  # what is saved for later must not change, as by copy=False
    elif torch.autograd.forward_ad._current_level < 0:
        return value(w)
    return _function().apply(w, value, derivative)


@functools.cache
def _function() -> Any:
    """Return the function that autograd records, of a map whose Jacobian is symmetric."""

    class Stated(torch.autograd.Function):  # type: ignore[misc]
        generate_vmap_rule = True

        @staticmethod
        def forward(w: Any, value: Value, derivative: Derivative) -> Any:
            del derivative
            return value(w)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, Value, Derivative], output: Any) -> None:
            del output
            w, _, ctx.derivative = inputs
            ctx.save_for_backward(w)
            ctx.save_for_forward(w)

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> tuple[Any, None, None]:
            return ctx.derivative(*ctx.saved_tensors, cotangent), None, None

        @staticmethod
        def jvp(ctx: Any, tangent: Any, value: None, derivative: None) -> Any:
            del value, derivative
            return ctx.derivative(*ctx.saved_tensors, tangent)

    return Stated


def _in_operations(value: Value, derivative: Derivative, w: Any) -> Any:
    """Return the same in operations that can be traced: torch.compile takes no ``jvp``.

    Zero is added, whose derivative is that of the path from ``w`` to itself, taken at its
    middle, so that the second derivative is right as well; the third is not.
    """
    finite, constant = torch.isfinite(w), w.detach()
    step = torch.where(finite, w - constant, torch.zeros_like(w))
    zero = derivative(constant + step / 2, step)
    result = value(constant) - (zero.detach() - zero)  # -0.0 minus 0.0 is -0.0
    return torch.where(finite, result, w)
