"""RadialConstraint by hand, on every library."""

import dataclasses

import numpy as np
import pytest
from libraries import DTYPES, bits

from array_constraints import RadialConstraint

RINGS = {  # the entry that each position takes, counted row by row
    1: [[0]],
    2: [[0, 0], [0, 0]],
    3: [[8, 8, 8], [8, 4, 8], [8, 8, 8]],
    4: [[15, 15, 15, 15], [15, 5, 5, 15], [15, 5, 5, 15], [15, 15, 15, 15]],
    5: [
        [24, 24, 24, 24, 24],
        [24, 18, 18, 18, 24],
        [24, 18, 12, 18, 24],
        [24, 18, 18, 18, 24],
        [24, 24, 24, 24, 24],
    ],
}


@pytest.mark.parametrize("size", RINGS)
def test_each_ring_takes_its_own_entry(library, size):
    for dtype in library.dtypes:
        w = np.arange(size * size * 6.0).reshape(size, size, 2, 3) % 97
        w = w.astype(DTYPES[dtype])
        result = library.numpy(RadialConstraint()(library.array(w)))
        flat = w.reshape(size * size, 2, 3)
        assert bits(result) == bits(flat[np.asarray(RINGS[size])])
        twice = library.numpy(RadialConstraint()(library.array(result)))
        assert bits(twice) == bits(result)


def test_the_violation_is_the_largest_difference_within_a_kernel(library):
    w = np.zeros((3, 3, 1, 2), dtype="float32")
    w[0, 1, 0, 0] = -5
    w[1, 1, 0, 1] = 7  # the centre is a ring of its own
    violation = library.numpy(RadialConstraint().violation(library.array(w)))
    np.testing.assert_array_equal(violation, [[[[5, 0]]]])


def test_nan_stays_in_its_kernel(library):
    w = np.zeros((3, 3, 1, 2), dtype="float32")
    w[2, 2, 0, 0] = np.nan
    result = library.numpy(RadialConstraint()(library.array(w)))
    assert np.isnan(result[0, 0, 0, 0])
    assert not result[..., 1].any()
    violation = library.numpy(RadialConstraint().violation(library.array(w)))
    np.testing.assert_array_equal(violation, [[[[np.nan, 0]]]])


def test_empty_kernels_come_back_empty(library):
    for shape in ((0, 0, 2, 2), (3, 3, 0, 2)):
        w = library.array(np.zeros(shape, "f4"))
        assert library.numpy(RadialConstraint()(w)).shape == shape
        violation = library.numpy(RadialConstraint().violation(w))
        assert violation.shape == (1, 1, *shape[2:])


@pytest.mark.parametrize("shape", [(3, 3, 1, 1, 1), (3, 2, 1, 1), (2, 3, 1, 1), (3, 3, 1)])
def test_only_square_kernels_of_rank_4_are_taken(library, shape):
    with pytest.raises(ValueError, match="takes the kernel of a two-dimensional convolution"):
        RadialConstraint()(library.array(np.ones(shape, "float32")))


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
def test_only_real_floating_kernels_are_taken(library, dtype):
    with pytest.raises(TypeError, match=f"takes a real floating dtype.*got {dtype}"):
        RadialConstraint()(library.array(np.ones((3, 3, 1, 1), dtype)))


def test_it_is_a_value():
    assert RadialConstraint() == RadialConstraint()
    assert hash(RadialConstraint()) == hash(RadialConstraint())
    with pytest.raises(dataclasses.FrozenInstanceError):
        RadialConstraint().axis = 0
