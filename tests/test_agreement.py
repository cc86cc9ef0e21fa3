"""Libraries, chunkings and memory orders agree within twice the tolerance of the contract."""

from __future__ import annotations

import math

import numpy as np
import pytest
from libraries import DTYPES, LIBRARIES, NUMPY, ROUNDOFF, bits, installed

from array_constraints import MaxNorm, MinMaxNorm, UnitNorm

CONSTRAINTS = [MaxNorm(1.0), MinMaxNorm(0.5, 1.0), MinMaxNorm(1.5, 2.0, rate=0.5), UnitNorm()]
every_case = pytest.mark.parametrize(
    ("constraint", "dtype"),
    [(constraint, dtype) for constraint in CONSTRAINTS for dtype in DTYPES],
    ids=repr,
)


def weight(dtype: str) -> np.ndarray:
    w = np.random.default_rng(0).standard_normal((96, 40)) * np.geomspace(1e-3, 1e3, 40)
    return w.astype(DTYPES[dtype])


def allowed(dtype: str) -> float:
    """Twice the tolerance, and the rounding of an entry."""
    half = dtype in ("float16", "bfloat16")
    return (2 * (2.05 if half else 12 + 1.5 * math.ceil(math.log2(96))) + 2) * ROUNDOFF[dtype]


def assert_agree(a: np.ndarray, b: np.ndarray, dtype: str) -> None:
    a, b = a.astype(np.float64), b.astype(np.float64)
    tiny = 2.0**-24 if dtype == "float16" else 0.0  # the spacing of its subnormal numbers
    assert (np.abs(a - b) <= allowed(dtype) * np.abs(a) + tiny).all()


@every_case
def test_libraries_agree(constraint, dtype):
    w = weight(dtype)
    expected = constraint(w)
    for library in filter(installed, LIBRARIES):
        if dtype in library.dtypes:
            with library.active():
                assert_agree(expected, library.numpy(constraint(library.array(w))), dtype)


@every_case
def test_chunkings_agree(constraint, dtype):
    da = pytest.importorskip("dask.array")
    w = weight(dtype)
    for chunks in ((96, 40), (1, 40), (7, 3), ((1, 90, 5), (20, 20))):
        lazy = constraint(da.from_array(w, chunks=chunks))
        assert_agree(constraint(w), lazy.compute(scheduler="synchronous"), dtype)


@every_case
def test_memory_orders_agree(constraint, dtype):
    w = weight(dtype)
    for library in filter(installed, LIBRARIES):
        if dtype in library.dtypes and library.module in ("numpy", "torch"):
            expected = library.numpy(constraint(library.array(w)))
            transposed = library.array(np.ascontiguousarray(w.T)).T
            assert_agree(expected, library.numpy(constraint(transposed)), dtype)
    if dtype != "bfloat16":
        assert bits(constraint(np.asfortranarray(w))) == bits(NUMPY.numpy(constraint(w)))
