"""Modes of NumPy and of the processor that a user may have set: none changes a result."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from libraries import DTYPES, NUMPY, STRICT, TORCH, bits, installed

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, RadialConstraint, UnitNorm, apply
from array_constraints.executors.dask import project

torch = pytest.importorskip("torch")
LIBRARIES = [library for library in (NUMPY, STRICT) if installed(library)]
NORMS = [
    MaxNorm(1.0),
    MinMaxNorm(0.5, 1.0, 0.5),
    UnitNorm(),
    MaxNorm((1.0,) * 2),
    MaxNorm(1.0, None),
]

# Columns of large beside small numbers, infinities, subnormal numbers and signalling NaNs.
PAIRS = {
    "float16": [[1000.0, np.inf], [1e-3, 6e-8], [np.nan, 65504.0]],
    "float32": [[1e20, np.inf], [1e-22, 1e-45], [np.nan, 3e38]],
    "float64": [[1e200, np.inf], [1e-200, 5e-324], [np.nan, 1.7e308]],
}


def hard(dtype):
    w = np.tile(np.asarray(PAIRS[dtype], dtype), (1, 1))
    bit = {"float16": 1 << 9, "float32": 1 << 22, "float64": 1 << 51}[dtype]
    signalling = w.view(f"u{w.dtype.itemsize}")
    signalling[2, 0] ^= bit | 1  # a NaN without its quiet bit
    return w


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
@pytest.mark.parametrize("dtype", PAIRS)
@pytest.mark.parametrize("many", [1, 3000])
def test_nothing_is_reported_where_everything_is_to_be_raised(library, dtype, many):
    if dtype not in library.dtypes:
        pytest.skip(f"{library} has no {dtype}")
    w = np.tile(hard(dtype), (many, 1))
    with np.errstate(all="raise"):
        for constraint in (*NORMS, NonNeg()):
            for copy in (None, True, False):
                assert constraint(library.array(w), copy=copy) is not None
            assert constraint.violation(library.array(w)).shape


@pytest.mark.parametrize("dtype", PAIRS)
def test_arrays_that_are_not_at_hand_are_as_hard(dtype):
    w = hard(dtype)
    foreign = w.astype(w.dtype.newbyteorder())
    kinds = (foreign, w.view(type("Sub", (np.ndarray,), {})), w[::-1], np.asfortranarray(w))
    with np.errstate(all="raise"):
        for array in kinds:
            for constraint in (*NORMS, NonNeg()):
                constraint(array)
                constraint.violation(array)
        for constraint in (MaxNorm(1.0, None), NonNeg()):
            constraint(w[0, 0])
            constraint(np.asarray(w[1, 0]))
        apply(MaxNorm(1.0), [w.copy() for _ in range(20)])
        kernels = np.tile(w.reshape(-1)[:4].reshape(2, 2, 1, 1), (1, 1, 2, 3))
        RadialConstraint()(kernels)
        RadialConstraint().violation(kernels)


def test_chunks_of_dask_are_as_quiet():
    import dask.array as da

    w = np.tile(hard("float32"), (100, 1))
    with np.errstate(all="raise"):
        for constraint in (MaxNorm(1.0), NonNeg(), UnitNorm()):
            lazy = project(constraint, da.from_array(w, chunks=(30, 1)))
            lazy.compute(scheduler="synchronous")


@pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
@pytest.mark.parametrize("dtype", PAIRS)
@pytest.mark.parametrize("rows", [1, 4000])
def test_a_signalling_nan_of_a_slice_stays_one(library, dtype, rows):
    w = np.tile(hard(dtype), (rows, 2))
    w[:, 2:] = np.asarray(2.0, dtype)
    w[:, 1] = np.asarray(1e-3, dtype)
    for constraint in (MaxNorm(1.0), MinMaxNorm(0.5, 1.0), UnitNorm(), MaxNorm((1.0,) * 4)):
        result = library.numpy(constraint(library.array(w)))
        assert bits(result[:, 0]) == bits(w[:, 0])
        assert not np.array_equal(result[:, 2], w[:, 2])


def same_bits(a, b):
    """Without a text of their difference, which takes minutes for a million entries."""
    return a.dtype == b.dtype and bool(np.all(a.view("u1") == b.view("u1")))


@pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
@pytest.mark.parametrize("dtype", PAIRS)
def test_a_signalling_nan_stays_one_beside_an_entry_that_changes(library, dtype):
    w = np.ones(64, dtype)
    w[0] = hard(dtype)[2, 0]
    w.view(f"u{w.dtype.itemsize}")[0] = hard(dtype).view(f"u{w.dtype.itemsize}")[2, 0]
    w[5] = -1
    assert bits(library.numpy(NonNeg()(library.array(w)))[:1]) == bits(w[:1])


@contextlib.contextmanager
def flushed():
    assert torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("entries", [40, 2**21 + 64])
def test_subnormal_numbers_are_seen_where_the_processor_takes_them_for_zeros(
    library, dtype, entries
):
    smallest = np.frombuffer(np.asarray([1], f"u{DTYPES[dtype].itemsize}"), DTYPES[dtype])[0]
    w = np.zeros(entries, DTYPES[dtype])
    w[::4], w[1::4], w[2::4], w[3::4] = -smallest, smallest, -0.0, -1.0
    expected, violation = NonNeg()(w), NonNeg().violation(w)
    assert (violation[0], violation[1], violation[2], violation[3]) == (smallest, 0, 0, 1)
    kept = np.tile(w[1:3], (4, 8))
    kept[2:] = 1
    with flushed():
        array = library.array(w)
        found, distance = NonNeg()(array), NonNeg().violation(array)
        written = NonNeg()(library.array(w), copy=False)
        satisfied = NonNeg()(library.array(np.abs(w)))
        beside = MaxNorm(1.0)(library.array(kept[:, :4]))
        rows = MaxNorm(1.0, axis=1)(library.array(kept))
    for result in (found, written):
        assert same_bits(library.numpy(result), expected)
    assert same_bits(library.numpy(distance), violation)
    assert same_bits(library.numpy(satisfied), np.abs(w))
    assert bits(library.numpy(rows)[:2]) == bits(kept[:2])
    assert not np.array_equal(library.numpy(beside)[2:], kept[2:, :4])


def test_subnormal_numbers_of_a_foreign_byte_order_are_seen():
    w = np.asarray([-1e-310, 1.0, 2.0]).astype(">f8")
    with flushed():
        result, violation = NonNeg()(w), NonNeg().violation(w)
    assert result.tolist() == [0.0, 1.0, 2.0]
    assert violation.tolist() == [1e-310, 0.0, 0.0]


def test_a_violation_on_jax_is_not_lost_where_it_is_narrowed():
    jax = pytest.importorskip("jax")
    c = float(np.float32(1e-30))
    w = jax.numpy.asarray(np.asarray([[c], [c * 1e-5]], "float32"))
    assert bool((MaxNorm(c)(w) != w).any())
    assert float(MaxNorm(c).violation(w)[0, 0]) > 0


@pytest.mark.parametrize("constraint", [MaxNorm(1.0, None), NonNeg(), UnitNorm(None)], ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [-2.0, 0.5, 0.0, math.nan])
def test_an_array_without_dimensions_stays_an_array(constraint, dtype, value):
    w = np.asarray(value, DTYPES[dtype])
    for copy in (None, True):
        result = constraint(w, copy=copy)
        assert type(result) is np.ndarray
        assert (result.shape, result.dtype) == ((), w.dtype)
        assert constraint(result, copy=False) is result
    violation = constraint.violation(w)
    assert (type(violation), violation.shape) == (np.ndarray, ())
    assert type(apply(constraint, [w])[0]) is np.ndarray
