"""Peak memory beyond the weight: it does not depend on the machine's load."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from array_constraints import MaxNorm

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


def xla_temporaries(constraint: Any, shape: tuple[int, ...], dtype: str = "float32") -> int:
    """Return the bytes of the temporaries of the compiled constraint."""
    import jax

    weight = jax.ShapeDtypeStruct(shape, dtype)
    analysis = jax.jit(constraint).lower(weight).compile().memory_analysis()
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
