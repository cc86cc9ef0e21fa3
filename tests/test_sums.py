"""Pairwise sums against exact ones, for every length and memory order."""

import math

import array_api_compat.numpy as xp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from array_constraints.numerics.partial_sums import partial_sums
from array_constraints.numerics.sums import pairwise_sum, plain_sum


def total(x, axes, ways):
    return pairwise_sum(x, None, axes, xp, lambda x, scale: x, ways)


@given(
    length=st.integers(0, 300),
    ways=st.sampled_from([2, 4, 32, 128]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_error_is_at_most_log2_n_roundoffs(length, ways, seed):
    x = np.random.default_rng(seed).uniform(0.1, 1.0, length)
    exact = math.fsum(x)
    depth = math.ceil(math.log2(max(length, 1)))
    assert abs(total(x, (0,), ways)[0] - exact) <= depth * 2**-53 * exact


@pytest.mark.parametrize("ways", [2, 32])
@pytest.mark.parametrize("length", [2**16, 2**16 + 1, 2**17 - 1])
def test_long_columns_of_equal_entries_are_summed_accurately(length, ways):
    for order in "CF":
        x = np.full((length, 2), 1.3, dtype=np.float32, order=order)
        error = total(x, (0,), ways).astype(np.float64) / (length * float(x[0, 0])) - 1
        assert np.max(np.abs(error)) <= 17 * 2**-24


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2), ()])
def test_any_axes_are_summed_and_kept(axes):
    x = np.arange(60.0).reshape(3, 4, 5)
    expected = np.sum(x, axis=axes, keepdims=True)
    np.testing.assert_array_equal(total(x, axes, 2), expected, strict=True)
    plain = plain_sum(x, None, axes, xp, lambda x, scale: x)
    np.testing.assert_array_equal(plain, expected, strict=True)


def test_each_slice_has_its_scale():
    x = np.arange(12.0).reshape(3, 4)
    scale = np.asarray([[1.0], [2.0], [4.0]])
    result = pairwise_sum(x, scale, (1,), xp, lambda x, scale: x * scale)
    np.testing.assert_array_equal(result, np.sum(x * scale, axis=1, keepdims=True))


def test_an_empty_sum_is_zero():
    np.testing.assert_array_equal(total(np.zeros((0, 3)), (0,), 2), np.zeros((1, 3)))


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2), ()])
def test_partial_sums_along_neighbouring_axes_read_the_array_where_it_is(axes):
    x, seen = np.ones((3, 4, 5)), []

    def add(segments):
        seen.append(np.shares_memory(segments, x))
        return np.sum(segments, axis=1)

    partial_sums(x, axes, 12, add, np)
    assert seen
    assert all(seen)


@pytest.mark.parametrize("divisor", [7, 8, 9, 10, 11, 12])
def test_a_partial_sum_has_as_many_terms_as_divide_the_slice(divisor):
    """The largest such number up to 12 that is more than half of it: then nothing is left."""
    shapes = []

    def add(segments):
        shapes.append(segments.shape)
        return np.sum(segments, axis=1)

    partial_sums(np.ones(divisor * 131), (0,), 12, add, np)  # 131 is a prime number
    assert shapes == [(1, divisor, 131)]
