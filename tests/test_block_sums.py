"""Arrays at hand: the order of their memory, and how their blocks are summed."""

from __future__ import annotations

import functools
import itertools
from fractions import Fraction

import numpy as np
import pytest
from libraries import NUMPY, ROUNDOFF, TORCH, bits, installed

from array_constraints import MaxNorm, apply, libraries, reductions
from array_constraints.libraries.block_sums import sparing
from array_constraints.libraries.numpy import NUMPY as AT_HAND
from array_constraints.libraries.strided import cut

BOTH = [library for library in (NUMPY, TORCH) if installed(library)]
both = pytest.mark.parametrize("library", BOTH, ids=str)


@both
class TestOrderOfMemory:
    def test_is_none_where_the_first_dimension_has_the_longest_stride(self, library):
        w = library.array(np.zeros((4, 6, 8)))
        for view in (w, w[:1], w[::2], w[:, 1:3], w[..., ::3], w[0], w[0, 0]):
            assert libraries.of(w).memory_order(view) is None

    def test_puts_dimensions_back_that_were_permuted(self, library):
        w = library.array(np.zeros((4, 6, 8)))
        kind = libraries.of(w)
        for order in itertools.permutations(range(3)):
            found = kind.memory_order(kind.xp.permute_dims(w, order))
            back = tuple(order.index(i) for i in range(3))
            assert found == (None if back == (0, 1, 2) else back)


def test_the_order_of_memory_is_that_of_strides_whatever_their_sign():
    w = np.zeros((4, 6, 8))
    assert AT_HAND.memory_order(w[::-1, :, ::-1]) is None
    assert AT_HAND.memory_order(w[::-1].T) == (2, 1, 0)


def test_sums_spare_memory_as_long_as_they_are_asked_to():
    assert not sparing.get()
    assert AT_HAND.sparingly(sparing.get)
    with pytest.raises(ZeroDivisionError):
        AT_HAND.sparingly(divmod, 1, 0)
    assert not sparing.get()


def relative_errors(found, numbers, count):
    """How far the sums of slices of one number each are off, in exact arithmetic."""
    value, scale, power = reductions.norm(found, np)
    scales = np.ones_like(value) if scale is None else scale
    for x, *made in zip(numbers, value.flat, scales.flat, strict=True):
        number, total, own = (Fraction(float(each)) for each in (x, *made))
        exact = count * (number * own) ** power
        yield abs(total - exact) / exact


SUMS = {"magnitudes": reductions.sum_of_magnitudes, "squares": reductions.sum_of_squares}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize(
    ("dtype", "exponent"),
    [("float32", -70), ("float32", 70), ("float64", -600), ("float64", 600)],
)
def test_the_last_slice_is_summed_as_well_as_the_others_where_it_alone_is_extreme(
    name, dtype, exponent
):
    """All of them are 2**17 entries: summed with care, these are several pieces."""
    numbers = np.asarray([1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.3 * 2.0**exponent], dtype)
    block = np.repeat(numbers[:, None], 2**14, axis=1)
    found = SUMS[name](block, (1,), np)
    for error in relative_errors(found, numbers, 2**14):
        assert error <= 2 * (14 / 2 + 1.5) * ROUNDOFF[dtype]


@pytest.mark.parametrize("exponent", [-66, -67, -68, -69, -70])
def test_small_squares_are_not_summed_where_they_have_lost_digits(exponent):
    """A square of 2**-136 has 13 digits in float32, however many of them are added."""
    number = np.float32(1.3 * 2.0**exponent)
    block = np.full((1, 2**20), number)
    found = reductions.sum_of_squares(block, (1,), np)
    (error,) = relative_errors(found, [number], 2**20)
    assert error <= 2 * (20 / 2 + 1.5) * 2.0**-24


def test_entries_of_float64_are_not_added_one_after_the_other():
    """Each is lost beside the first one, but half a million are not."""
    w = np.full((2**19, 2), 2.0**-53)
    w[0] = 1.0
    exact = 1 + (2**19 - 1) * Fraction(2) ** -53
    for found in reductions.sum(w, (0,), np).flat:
        assert abs(Fraction(float(found)) - exact) <= 20 * 2.0**-53 * exact


@pytest.mark.parametrize(("name", "exponent"), [("magnitudes", 1008), ("squares", 504)])
def test_sums_of_blocks_add_up_where_each_is_near_the_largest_number(name, exponent):
    block = np.full((2, 2**14), 2.0**exponent)
    parts = [SUMS[name](block, (1,), np) for _ in range(4)]
    found = functools.reduce(lambda a, b: reductions.merge(a, b, np), parts)
    assert np.isfinite(found.value).all()
    for error in relative_errors(found, block[:, 0], 2**16):
        assert error <= 2 * (16 / 2 + 1.5) * 2.0**-53


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sum_of_no_entries_is_0(name, dtype):
    found = SUMS[name](np.zeros((0, 3), dtype), (0,), np)
    assert (found.entries, found.value.tolist()) == (0, [[0.0] * 3])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_array_more_than_a_stack_holds_is_constrained_as_alone(dtype):
    """Arrays of 2**14 entries: 32 of them are constrained at once."""
    values = np.random.default_rng(0).standard_normal((33, 128, 128)).astype(dtype)
    for w, found in zip(values, apply(MaxNorm(1.0), list(values)), strict=True):
        assert bits(found) == bits(MaxNorm(1.0)(w))


PIECES = [
    ((2**13,), (0,)),
    ((2**17,), (0,)),
    ((3, 2**16), (1,)),
    ((2**16, 3), (0,)),
    ((2**16, 3), (1,)),
    ((1000, 333), (1,)),
    ((7, 300, 64), (0, 2)),
    ((7, 300, 64), (1,)),
    ((64, 50, 1, 61), (0, 3)),
    ((300, 301), ()),
]


@pytest.mark.parametrize(("shape", "axes"), PIECES, ids=str)
def test_pieces_of_a_block_hold_an_eighth_of_it_as_far_as_it_can_be_cut(shape, axes):
    seen, sizes = np.zeros(shape, int), []
    for panel, tiles in cut(shape, axes):
        for tile in tiles:
            seen[tile] += 1
            sizes.append(seen[tile].size)
        whole = tuple(slice(None) if i in axes else part for i, part in enumerate(panel))
        assert (seen[whole] == 1).all()
    assert (seen == 1).all()
    most = min(max(seen.size // 8, 2**12), 2**15)
    assert most / 2 < max(sizes) <= most
    assert seen.ndim > 1 or max(sizes) == most
