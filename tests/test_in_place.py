"""In place: nothing of the weight's size is allocated; the bits are those of a new array."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from libraries import DTYPES, NUMPY, TORCH, bits, installed

from array_constraints import Interval, MaxNorm, NonNeg, Rescaling, Slicewise, reductions
from benchmarks import memory

BOTH = [library for library in (NUMPY, TORCH) if installed(library)]
PEAK = {NUMPY: memory.numpy_peak, TORCH: memory.torch_peak}


class L1Ball(Rescaling):
    axis = 0
    measure = staticmethod(reductions.sum_of_magnitudes)
    size = staticmethod(reductions.norm)

    def interval(self):
        return Interval(0.0, 0.5)


class Mean(Slicewise):
    """Shift what has a mean above zero."""

    axis = 0

    def measure(self, block, axes, xp):
        return reductions.sum(block, axes, xp)

    def merge(self, a, b, xp):
        return a + b

    def excess(self, measure, xp):
        return xp.maximum(measure, xp.zeros_like(measure))

    def apply(self, block, measure, xp):
        return xp.astype(xp.astype(block, measure.dtype) - measure, block.dtype)


HALF = ("float16", "bfloat16")
CONSTRAINTS = {
    "product": MaxNorm(0.5),
    "product, short axis": MaxNorm(0.5, axis=1),
    "radii": MaxNorm(tuple(np.linspace(0.4, 0.5, 1024).tolist()), axis=1),
    "more than a product": MaxNorm(1e-25),
    "magnitudes": L1Ball(),
    "mean": Mean(),
    "entries": NonNeg(),
}
MORE = {(half, "more than a product") for half in HALF}
"""Half types are widened twice where a factor leaves their range: 1.2 times the weight."""


CASES = [
    (dtype, entries)
    for dtype in (*HALF, "float32", "float64")
    for entries in (2**16, 2**18, 2**20, 2**22)
    if entries >= 2**18 or dtype not in HALF  # what is widened of 128 KiB is as large
]


@pytest.mark.parametrize("library", BOTH, ids=str)
@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize(("dtype", "entries"), CASES)
def test_less_than_the_weight_is_allocated(library, name, dtype, entries):
    values = np.random.default_rng(0).standard_normal((1024, entries // 1024))
    values = values.astype(DTYPES[dtype])
    expected = CONSTRAINTS[name](library.array(values))
    place = library.array(values.copy())
    call = functools.partial(CONSTRAINTS[name], place, copy=False)
    most = 1.25 if (dtype, name) in MORE else 0.9
    assert PEAK[library](call) < most * values.nbytes
    assert bits(library.numpy(place)) == bits(library.numpy(expected))
