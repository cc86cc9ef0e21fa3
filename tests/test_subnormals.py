"""Numbers told by their bits, against what the processor makes of them by itself."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import DTYPES

from array_constraints.numerics import subnormals
from array_constraints.numerics.formats import FORMATS


def numbers(name):
    """All numbers of a half type; of a longer one those at the edges, with either sign."""
    dtype = np.dtype(DTYPES[name])
    unsigned = np.dtype(f"u{dtype.itemsize}")
    if dtype.itemsize == 2:
        return np.arange(2**16, dtype=unsigned).view(dtype)
    digits, size = FORMATS[name].digits, 8 * dtype.itemsize
    infinity = 2 ** (size - 1) - 2 ** (digits - 1)  # the bits of all exponents
    edges = [0, 1, 2, 2 ** (digits - 3), 2 ** (digits - 2), 2 ** (digits - 1), 2**digits]
    near = [
        each + step for each in (*edges, infinity) for step in (-1, 0, 1) if each + step >= 0
    ]
    return np.asarray([*near, *(each + 2 ** (size - 1) for each in near)], unsigned).view(dtype)


def bits_of(w):
    return w.view(f"i{w.dtype.itemsize}")


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_below_zero(name):
    w = numbers(name)
    with np.errstate(invalid="ignore"):
        below = w < 0
    np.testing.assert_array_equal(
        subnormals.negative(bits_of(w), FORMATS[name].digits), below, strict=True
    )


@pytest.mark.parametrize("name", FORMATS)
def test_subnormal_numbers_are_widened_exactly(name):
    w, form = numbers(name), FORMATS[name]
    value, found = subnormals.widened(
        bits_of(w), form.digits, form.smallest_normal, np.float64, np
    )
    with np.errstate(invalid="ignore"):
        wide = w.astype("float64")
    np.testing.assert_array_equal(found, np.abs(wide) < form.smallest_normal, strict=True)
    exact, expected = value[found], wide[found]
    np.testing.assert_array_equal(exact, expected, strict=True)
    np.testing.assert_array_equal(np.signbit(exact), np.signbit(expected))
