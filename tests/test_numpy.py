"""What NumPy's library does in particular: which arrays it reads, ties and sums, and how."""

from __future__ import annotations

import math

import numpy as np
import pytest
from libraries import DTYPES, ROUNDOFF, bits, normal
from test_forms import L1Ball

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, apply, reductions
from array_constraints.libraries.numpy import NUMPY
from benchmarks import memory


class Sub(np.ndarray):
    """A subclass that changes nothing."""


def test_arrays_with_entries_in_memory_are_at_hand_and_no_others(tmp_path):
    mapped = np.memmap(tmp_path / "w", "float32", "w+", shape=(2, 3))
    for w in (np.zeros(1), np.zeros(3), np.zeros((2, 3)), np.zeros((3, 2)).T, mapped):
        assert NUMPY.at_hand(w)
    foreign = np.zeros(3).astype(np.dtype("float64").newbyteorder())
    for w in (np.zeros(()), np.zeros(0), np.zeros((2, 0)), foreign, np.zeros(3).view(Sub)):
        assert not NUMPY.at_hand(w)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_over_no_entries_are_zero(dtype):
    w = np.zeros((0, 3), DTYPES[dtype])
    for measure in (reductions.sum_of_squares, reductions.sum_of_magnitudes):
        np.testing.assert_array_equal(measure(w, (0,), np).value, np.zeros((1, 3)))
    np.testing.assert_array_equal(MaxNorm(1.0).violation(w), np.zeros((1, 3)))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [(3, 2), (600, 500)], ids=str)
def test_a_new_result_of_a_mapped_weight_is_an_ordinary_array(tmp_path, dtype, shape):
    values = normal(shape, dtype)
    w = np.memmap(tmp_path / "w", dtype, "w+", shape=shape)
    w[...] = values
    for constraint in (MaxNorm(0.5), MaxNorm(1e-25), NonNeg()):
        for copy in (None, True):
            result = constraint(w, copy=copy)
            assert type(result) is np.ndarray
            assert bits(result) == bits(constraint(values))
    assert bits(w) == bits(values)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2), ()], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_keep_the_dimensions(dtype, axes):
    w = np.arange(24).reshape(2, 3, 4).astype(DTYPES[dtype])
    found = reductions.sum(w, axes, np)
    exact = np.sum(w.astype("float64"), axis=axes, keepdims=True)
    np.testing.assert_array_equal(found, exact, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_magnitudes_of_few_entries_are_summed_exactly(dtype):
    for shape in ((1,), (3,), (3, 1), (1, 3), (5, 3), (33,), (2, 70)):
        w = (-1) ** np.arange(np.prod(shape)).reshape(shape) * DTYPES[dtype].type(3)
        found = reductions.sum_of_magnitudes(w.astype(DTYPES[dtype]), (0,), np).value
        np.testing.assert_array_equal(found, np.full((1, *shape[1:]), 3.0 * shape[0]))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint64"])
def test_integers_below_zero_are_seen_where_subnormal_numbers_are_zeros(dtype):
    """Their bits are those of no format."""
    torch = pytest.importorskip("torch")
    w = np.asarray([-3, 0, 5, 100]).astype(dtype)
    expected = np.maximum(w, np.zeros_like(w))
    assert torch.set_flush_denormal(True)
    try:
        results = NonNeg()(w), NonNeg()(w.copy(), copy=False)
        violation = NonNeg().violation(w)
    finally:
        torch.set_flush_denormal(False)
    for result in results:
        np.testing.assert_array_equal(result, expected, strict=True)
    np.testing.assert_array_equal(violation, expected - w.astype("float64"))


@pytest.mark.parametrize("axis", [0, None])
def test_the_last_stack_of_arrays_that_are_alike_may_hold_one(axis):
    """65 arrays of 8,000 entries are stacked at once, and the 66th is left."""
    arrays = [normal((80, 100), seed=i) for i in range(66)]
    constraint = MaxNorm(2.0, axis)
    for w, found in zip(arrays, apply(constraint, arrays), strict=True):
        assert bits(found) == bits(constraint(w))


class TestTies:
    """Views of the same entries are one weight: it is constrained once."""

    halfway = MinMaxNorm(1.0, 1.0, rate=0.5)  # twice would be three quarters of the way

    def test_views_of_the_same_entries(self):
        w = np.full((4, 2), 2.0)  # of norm 4
        views = [w[:, :], w[:, :], w.reshape(4, 2)]
        results = apply(self.halfway, views)
        assert results[0] is results[1] is results[2]
        apply(self.halfway, views, copy=False)
        for found in (results[0], w):
            np.testing.assert_allclose(np.linalg.norm(found, axis=0), 2.5, rtol=1e-12)

    def test_an_array_and_its_view(self):
        w = np.full((4, 2), 2.0)
        apply(self.halfway, {"a": w, "b": np.ones((3, 2)), "c": w[...]}, copy=False)
        np.testing.assert_allclose(np.linalg.norm(w, axis=0), 2.5, rtol=1e-12)

    def test_views_of_other_entries_shapes_orders_and_dtypes(self):
        """Some of them begin at the same place of the memory."""
        whole = normal((4, 3, 3), seed=1)
        views = [*whole, whole[0].T, whole[0][:, :1], whole[:2, 0], whole[0].view("int32")]
        for constraint in (NonNeg(), MaxNorm(0.5)):
            some = views if isinstance(constraint, NonNeg) else views[:-1]
            for w, found in zip(some, apply(constraint, some), strict=True):
                assert bits(found) == bits(constraint(w))

    def test_a_subclass_comes_back_as_itself(self):
        w = normal((4, 2))
        for kinds in ((np.ndarray, Sub), (Sub, np.ndarray)):
            results = apply(NonNeg(), [w.view(kind) for kind in kinds])
            assert tuple(map(type, results)) == kinds


class TestMemory:
    """What is made in place, as a share of the weight, is what its sums are made of."""

    @staticmethod
    def share(constraint, w):
        w = w.copy(order="K")
        constraint(w.copy(order="K"), copy=False)  # imports and tables are made once
        return memory.numpy_peak(lambda: constraint(w, copy=False)) / w.nbytes

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_sums_of_squares_need_no_array_of_the_squares(self, dtype):
        assert self.share(MaxNorm(0.5, None), normal((512, 512), dtype)) < 0.25

    def test_magnitudes_go_through_a_part_of_the_weight(self):
        for w in (normal((1024, 32), "float64"), normal((32, 1024), "float64").T):
            assert self.share(L1Ball(0.5), w) < 1

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    @pytest.mark.parametrize("constraint", [MaxNorm(0.5), L1Ball(0.5)], ids=repr)
    def test_half_types_are_widened_in_parts_along_the_slices_too(self, constraint, dtype):
        """One partial sum of 32 rows is as large as the weight."""
        assert self.share(constraint, normal((32, 4096), dtype)) < 0.9

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_the_order_of_memory_makes_no_copy(self, dtype, axis):
        w = normal((256, 512), dtype)
        for constraint in (MaxNorm(0.5, axis), L1Ball(0.5, axis)):
            for array in (w, np.asfortranarray(w), np.ascontiguousarray(w.T).T[::-1]):
                assert self.share(constraint, array) < 0.9


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_of_every_length_around_the_first_partial_sums_are_constrained(dtype):
    """Their last part may be some terms long, or a few less than a whole one."""
    ones = np.ones(2**13 + 64, DTYPES[dtype])
    for length in range(2**13 - 1, 2**13 + 65):
        for constraint in (MaxNorm(2.0), L1Ball(2.0)):
            found = constraint(ones[:length]).astype("float64")
            expected = 2 / (math.sqrt(length) if type(constraint) is MaxNorm else length)
            np.testing.assert_allclose(found, expected, rtol=16 * ROUNDOFF[dtype], atol=2e-7)
