"""NonNeg by hand, on every library."""

import numpy as np
import pytest
from libraries import DTYPES, bits

from array_constraints import NonNeg


def test_negative_entries_become_zero_and_the_rest_keeps_its_bits(library):
    for dtype in library.dtypes:
        w = np.asarray([-3.0, -0.0, 0.0, 2.5, np.nan, np.inf, -np.inf]).astype(DTYPES[dtype])
        result = library.numpy(NonNeg()(library.array(w)))
        expected = np.asarray([0.0, -0.0, 0.0, 2.5, np.nan, np.inf, 0.0]).astype(DTYPES[dtype])
        assert bits(result) == bits(expected)
        violation = library.numpy(NonNeg().violation(library.array(w)))
        np.testing.assert_array_equal(violation, [3, 0, 0, 0, np.nan, 0, np.inf])


def test_an_array_without_dimensions_is_one_entry(library):
    for dtype in library.dtypes:
        for value, expected in ((-3.0, 0.0), (-0.0, -0.0), (2.5, 2.5)):
            result = library.numpy(NonNeg()(library.array(np.asarray(value, DTYPES[dtype]))))
            assert bits(result) == bits(np.asarray(expected, DTYPES[dtype]))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_any_order_of_bytes(dtype):
    w = np.asarray([-3.0, -0.0, 2.5, -np.inf, -1e-5], f">{dtype}")
    result = NonNeg()(w)
    assert result.dtype == w.dtype
    np.testing.assert_array_equal(result, [0.0, -0.0, 2.5, 0.0, 0.0])
    assert NonNeg()(w, copy=False) is w
    np.testing.assert_array_equal(w, result)


def test_negative_subnormal_numbers_become_zero(library):
    for dtype in library.dtypes:
        w = np.asarray([1], dtype=f"uint{8 * DTYPES[dtype].itemsize}").view(DTYPES[dtype])
        result = library.numpy(NonNeg()(library.array(np.concatenate([w, -w]))))
        assert bits(result) == bits(np.concatenate([w, 0 * w]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_all_patterns_of_16_bits(library, dtype):
    if dtype not in library.dtypes:
        pytest.skip(f"{library} has no {dtype}")
    w = np.arange(2**16, dtype=np.uint16).view(DTYPES[dtype])
    with np.errstate(invalid="ignore"):
        w[np.isnan(w)] = np.nan  # the one that computing makes: XLA keeps no other
    wide = w.astype(np.float64)
    expected = np.where(wide < 0, np.zeros_like(w), w)
    assert bits(library.numpy(NonNeg()(library.array(w)))) == bits(expected)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_integers_are_kept_as_integers(library, dtype):
    info = np.iinfo(dtype)
    w = np.asarray([info.min, info.max, 0, 3], dtype=dtype)
    result = library.numpy(NonNeg()(library.array(w)))
    assert result.dtype == w.dtype
    np.testing.assert_array_equal(result, np.maximum(w, 0))
    violation = library.numpy(NonNeg().violation(library.array(w)))
    np.testing.assert_array_equal(violation, [-float(info.min), 0, 0, 0])


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_of_64_bits_are_kept_by_numpy(dtype):
    info = np.iinfo(dtype)
    w = np.asarray([info.min, info.max, 0, 3], dtype=dtype)
    np.testing.assert_array_equal(NonNeg()(w), np.maximum(w, 0), strict=True)
    assert NonNeg().violation(w).tolist() == [-float(info.min), 0, 0, 0]


def test_empty_and_0d_arrays(library):
    assert library.numpy(NonNeg()(library.array(np.zeros((0, 2), "f4")))).shape == (0, 2)
    assert library.numpy(NonNeg()(library.array(np.asarray(-2.0, "f4")))) == 0


def test_nan_beside_negative_entries(library):
    for dtype in library.dtypes:
        for values in ([np.nan, -1.0, 2.0], [np.nan, 1.0], [-1.0, -np.inf, np.nan]):
            w = np.asarray(values, DTYPES[dtype])
            with np.errstate(invalid="ignore"):
                expected = np.where(w < 0, np.zeros_like(w), w)
            result = library.numpy(NonNeg()(library.array(w)))
            assert bits(result) == bits(expected)


def test_a_set_that_asks_for_more_is_asked_at_hand(library):
    """Python does not keep what is final from having a subclass."""

    class Negative(NonNeg):
        def outside(self, w, xp):
            return w < -1

    w = library.array(np.asarray([-0.5, 1.0]))
    if library.name in ("numpy", "torch"):
        assert Negative()(w) is w
