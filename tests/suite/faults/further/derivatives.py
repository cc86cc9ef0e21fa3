"""Derivatives of further sets on PyTorch: right ones, and one fault each, for GRAD-6."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

Function = Callable[..., Any]


def module(name: str, function: Function, **defaults: Any) -> SimpleNamespace:
    """Return a module with a constraint that is ``function(w, ...)`` with its arguments."""

    class Constraint:
        def __init__(self, *arguments: Any, **given: Any) -> None:
            self.given = {**defaults, **dict(zip(defaults, arguments, strict=False)), **given}

        def __call__(self, w: Any) -> Any:
            return function(w, **self.given)

    return SimpleNamespace(__name__="further", **{name: Constraint})


def _normal(normal: Any, w: Any) -> Any:
    return (
        w.new_tensor(normal).expand(w.shape)
        if isinstance(normal, float)
        else w.new_tensor(normal)
    )


def box(w: Any, min_value: float, max_value: float) -> Any:
    """Clip, where a bound counts as satisfied."""
    import torch

    v = w.detach().double()
    low, high = (_inwards(b, d, w) for b, d in ((min_value, 1), (max_value, -1)))
    moved = torch.where(v < min_value, low, w)
    return torch.where(v > max_value, high, moved)


def _inwards(bound: float, direction: int, w: Any) -> Any:
    import torch

    near = torch.tensor(bound, dtype=w.dtype)
    outside = near.item() < bound if direction > 0 else near.item() > bound
    return torch.nextafter(near, near.new_tensor(direction * torch.inf)) if outside else near


def triangular(w: Any, part: str, offset: int, axis: Any) -> Any:
    import torch

    turned = w if axis == (-2, -1) else w.mT
    found = torch.tril(turned, offset) if part == "lower" else torch.triu(turned, offset)
    return found if axis == (-2, -1) else found.mT


def hyperplane(w: Any, normal: Any, value: float, axis: Any) -> Any:
    a, v = _normal(normal, w).double(), w.double()
    return (v - ((a * v).sum() - value) / (a * a).sum() * a).to(w.dtype)


def halfspace(w: Any, normal: Any, bound: float, axis: Any) -> Any:
    import torch

    over = (_normal(normal, w).double() * w.double()).sum() > bound
    return torch.where(over, hyperplane(w, normal, bound, axis), w)


def mean(w: Any, value: float, axis: Any) -> Any:
    v = w.double()
    return (v - (v.mean() - value)).to(w.dtype)


def standardized(w: Any, axis: Any) -> Any:
    import torch

    v = w.double()
    about = v - v.mean()
    square = (about * about).mean()
    moved = (about / torch.where(square > 0, square, torch.ones_like(square)).sqrt()).to(
        w.dtype
    )
    return torch.where(square > 0, moved, w)


def sparse(w: Any, k: int | None, density: float | None, axis: Any) -> Any:
    """Sort stably: the first of equal magnitudes are kept."""
    import torch

    k = math.floor(density * len(w) + 0.5) if density is not None else k
    order = torch.sort(w.detach().abs(), dim=0, descending=True, stable=True).indices
    too_many = (w != 0).sum(0) > k
    return w.masked_fill((order.argsort(dim=0) >= k) & too_many, 0)


def sparse_with_all_derivatives(w: Any, k: Any, density: Any, axis: Any) -> Any:
    return w + (sparse(w, k, density, axis) - w).detach()


def box_by_minimum(w: Any, min_value: float, max_value: float) -> Any:
    """Take the minimum and the maximum, which share the derivative at a bound."""
    import torch

    low, high = (_inwards(b, d, w) for b, d in ((min_value, 1), (max_value, -1)))
    return torch.minimum(torch.maximum(w, low), high)


def straight_through(w: Any, min_value: float, max_value: float) -> Any:
    """Let every derivative pass, as in quantisation."""
    return w + (box(w, min_value, max_value) - w).detach()


def mean_as_a_constant(w: Any, value: float, axis: Any) -> Any:
    v = w.double()
    return (v - (v.detach().mean() - value)).to(w.dtype)


def deviation_as_a_constant(w: Any, axis: Any) -> Any:
    v = w.double()
    about = v - v.mean()
    return (about / (about * about).mean().sqrt().detach().clamp(min=1e-300)).to(w.dtype)


def identity_where_satisfied(w: Any, normal: Any, value: float, axis: Any) -> Any:
    """Return a slice on the plane as it is, its derivative too."""
    import torch

    a, v = _normal(normal, w).double(), w.detach().double()
    near = ((a * v).sum() - value).abs() <= 1e-2
    return torch.where(near, w, hyperplane(w, normal, value, axis))


def monotone(w: Any, increasing: bool, axis: Any) -> Any:
    """Average runs by the formula of the largest smallest mean, which is differentiable."""
    import torch

    v = w.double().flatten() if increasing else w.double().flatten().flip(0)
    n = len(v)
    rows = [
        torch.stack([torch.stack([v[i : j + 1].mean() for j in range(k, n)]).min()
                     for i in range(k + 1)]).max()
        for k in range(n)
    ]  # fmt: skip
    found = torch.stack(rows) if increasing else torch.stack(rows).flip(0)
    falls = (v[1:] < v[:-1]).any()
    return torch.where(falls, found.reshape(w.shape).to(w.dtype), w)


def running_maximum(w: Any, increasing: bool, axis: Any) -> Any:
    import torch

    v = w if increasing else w.flip(0)
    found = torch.cummax(v, 0).values
    return found if increasing else found.flip(0)


_AXIS, _BOX = {"axis": 0}, {"min_value": -1.0, "max_value": 1.0}
_SPARSE = {"k": 2, "density": None, "axis": 0}
_PLANE = {"normal": 1.0, "value": 0.0, "axis": 0}
RIGHT = {
    "Box": (box, _BOX),
    "Triangular": (triangular, {"part": "lower", "offset": 0, "axis": (-2, -1)}),
    "Sparse": (sparse, _SPARSE),
    "Mean": (mean, {"value": 0.0, "axis": 0}),
    "Standardized": (standardized, _AXIS),
    "Monotone": (monotone, {"increasing": True, "axis": 0}),
    "Halfspace": (halfspace, {"normal": 1.0, "bound": 0.0, "axis": 0}),
    "Hyperplane": (hyperplane, _PLANE),
}
WRONG = [
    ("GRAD-2", "Box", box_by_minimum, _BOX),
    ("GRAD-6", "Box", straight_through, _BOX),
    ("GRAD-6", "Sparse", sparse_with_all_derivatives, _SPARSE),
    ("GRAD-6", "Mean", mean_as_a_constant, {"value": 0.0, "axis": 0}),
    ("GRAD-6", "Standardized", deviation_as_a_constant, _AXIS),
    ("GRAD-6", "Monotone", running_maximum, {"increasing": True, "axis": 0}),
    ("GRAD-6", "Hyperplane", identity_where_satisfied, _PLANE),
]
