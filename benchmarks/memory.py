"""Peak memory beyond the weight: it does not depend on the machine's load."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from array_constraints import (
    Banded,
    Blocks,
    Box,
    Chain,
    Halfspace,
    Hyperplane,
    L1Ball,
    Mask,
    MaxNorm,
    Mean,
    MinMaxNorm,
    Monotone,
    NMSparse,
    NonNeg,
    Relaxed,
    Simplex,
    Sparse,
    Sphere,
    Standardized,
    Sum,
    Triangular,
    UnitNorm,
)

BOTH = (0, 1)
SETS: dict[str, list[Any]] = {
    "NonNeg, Box": [NonNeg(), Box(-0.5, 0.5)],
    "Mask": [Mask([[True, False] * 512])],
    "Triangular, Banded": [Triangular(), Banded(3, 3)],
    "NMSparse": [NMSparse(axis=i) for i in BOTH],
    "MaxNorm, UnitNorm, Sphere": [
        c for i in BOTH for c in (MaxNorm(1.0, i), UnitNorm(i), Sphere(1.0, i))
    ],
    "MinMaxNorm": [MinMaxNorm(0.5, 1.0, axis=i) for i in BOTH],
    "Mean, Sum": [c for i in BOTH for c in (Mean(0.0, i), Sum(1.0, i))],
    "Halfspace, Hyperplane": [
        c for i in BOTH for c in (Halfspace(1.0, -1.0, i), Hyperplane(1.0, 1.0, i))
    ],
    "Standardized": [Standardized(i) for i in BOTH],
    "Simplex": [Simplex(total, i) for i in BOTH for total in (1.0, 100.0)],
    "L1Ball": [L1Ball(radius, i) for i in BOTH for radius in (1.0, 100.0)],
    "Sparse": [Sparse(density=0.5, axis=i) for i in BOTH],
    "Monotone": [Monotone(axis=i) for i in BOTH],
    "Chain": [Chain([NonNeg(), MaxNorm(1.0)])],
    "Relaxed": [Relaxed(MaxNorm(1.0), rate=0.5)],
    "Blocks": [Blocks(MaxNorm(1.0), size=64)],
}
SHAPES = [((4096, 4096), 0), ((4096, 4096), 1), ((30522, 384), 0), ((30522, 384), 1)]


def numpy_peak(call: Callable[[], Any]) -> int:
    """Return the most bytes that NumPy held at once during a call, what it returns included."""
    tracemalloc.start()
    try:
        result = call()
        del result
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def torch_peak(call: Callable[[], Any]) -> int:
    """Return the same for PyTorch, by its profiler."""
    import torch

    with torch.profiler.profile(profile_memory=True) as profile:
        result = call()
        del result
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def of_sets(shape: tuple[int, int] = (4096, 1024)) -> list[dict[str, Any]]:
    """Return what each set holds beside the weight and a new result, in weights.

    The most of slices along both dimensions.
    """
    import torch

    w = np.random.default_rng(0).standard_normal(shape, "float32")
    t = torch.from_numpy(w.copy())
    found = []
    for name, constraints in SETS.items():
        shares = {
            "NumPy": max(beside(c, w, numpy_peak) for c in constraints),
            "PyTorch": max(beside(c, t, torch_peak) for c in constraints),
        }
        shares["JAX, jit"] = max(xla_temporaries(c, shape) for c in constraints) / w.nbytes
        found.append({"set": name, **shares})
    return found


def beside(constraint: Any, w: Any, peak: Callable[[Callable[[], Any]], int]) -> float:
    """Return what a call holds beside the weight and the result, in weights.

    A first call on a part imports what it needs.
    """
    constraint(w[:64])
    return max(0.0, peak(lambda: constraint(w)) / w.nbytes - 1)


def xla_temporaries(constraint: Any, shape: tuple[int, ...], dtype: str = "float32") -> int:
    """Return the bytes of the temporaries of the compiled constraint."""
    import jax

    weight = jax.ShapeDtypeStruct(shape, dtype)
    call = jax.jit(lambda w: constraint(w))  # ``jit`` takes over attributes, as ``lower``
    analysis = call.lower(weight).compile().memory_analysis()
    return int(analysis.temp_size_in_bytes)


def measured() -> list[dict[str, Any]]:
    """Return the peaks, as multiples of the weight."""
    import torch

    found = []
    for shape, axis in SHAPES:
        w = np.random.default_rng(0).standard_normal(shape, "float32")
        t = torch.from_numpy(w.copy())
        half, kept = (
            MaxNorm(float(np.sqrt(w.size / w.shape[1 - axis])), axis),
            MaxNorm(1e6, axis),
        )
        for library, weight, peak in (("numpy", w, numpy_peak), ("torch", t, torch_peak)):
            for name, call in {
                "new result": lambda weight=weight, c=half: c(weight),
                "feasible": lambda weight=weight, c=kept: c(weight),
                "in place": lambda weight=weight, c=half: c(weight, copy=False),
            }.items():
                share = peak(call) / w.nbytes
                found.append(
                    {
                        "library": library,
                        "shape": shape,
                        "axis": axis,
                        "call": name,
                        "peak": share,
                    }
                )
        temporaries = xla_temporaries(half, shape) / w.nbytes
        found.append(
            {
                "library": "jax",
                "shape": shape,
                "axis": axis,
                "call": "XLA temporaries",
                "peak": temporaries,
            }
        )
    return found
