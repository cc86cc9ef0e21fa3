"""How PyTorch's library sums and multiplies, and what that makes in memory."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from libraries import DTYPES, TORCH
from test_forms import L1Ball
from test_torch import normal, same

from array_constraints import MaxNorm, apply, reductions
from benchmarks import memory

torch = pytest.importorskip("torch")

from array_constraints.libraries.torch import TORCH as KIND  # noqa: E402

SHAPES = [(5, 3), (2**10, 2**6), (2**6, 2**10), (4, 2**15), (2**15, 4), (3, 5, 2**12), (2**16,)]
SHARED = [(30, 8000), (2**17,), (2**15 + 77, 3), (400, 600), (2**9, 2**8), (700, 300)]


class TestSums:
    """Of whole numbers, which are exact in whatever order they are added."""

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_are_exact_and_keep_the_dimensions(self, dtype, shape):
        w = np.random.default_rng(0).integers(-2, 3, shape).astype(DTYPES[dtype])
        x, wide = TORCH.array(w), w.astype("float64")
        for axes in {(), (0,), (len(shape) - 1,), tuple(range(len(shape)))}:
            found = reductions.sum(x, axes, KIND.xp)
            np.testing.assert_array_equal(
                found, np.sum(wide, axis=axes, keepdims=True), strict=True
            )

    @pytest.mark.parametrize("spare", [False, True])
    @pytest.mark.parametrize("shape", [*SHAPES, (2, 2**17), (2**17, 2), (2**18,)], ids=str)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_of_powers_are_exact(self, dtype, shape, spare):
        w = np.random.default_rng(0).choice([-3, -2, -1, 1, 2, 3], shape).astype(DTYPES[dtype])
        x, wide = TORCH.array(w), np.abs(w.astype("float64"))
        powers = {1: reductions.sum_of_magnitudes, 2: reductions.sum_of_squares}
        for (power, measure), axis in ((p, a) for p in powers.items() for a in {0, w.ndim - 1}):
            call = functools.partial(measure, x, (axis,), KIND.xp)
            found = KIND.sparingly(call) if spare else call()
            assert found.scale is None
            total = np.asarray(found.value, "float64")
            if found.rounding_error is not None:
                total = total + np.asarray(found.rounding_error)
            expected = np.sum(wide**power, axis=axis, keepdims=True)
            np.testing.assert_array_equal(total, expected, strict=True)

    @pytest.mark.parametrize("shape", SHARED, ids=str)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_have_the_same_bits_where_memory_is_spared(self, dtype, shape):
        w = normal(shape, dtype)
        for measure in (reductions.sum_of_squares, reductions.sum_of_magnitudes):
            for axis in {0, w.ndim - 1}:
                found = KIND.sparingly(measure, w, (axis,), KIND.xp)
                assert same(found.value, measure(w, (axis,), KIND.xp).value)

    @pytest.mark.parametrize("axis", [0, 1, None])
    @pytest.mark.parametrize("shape", [(8, 4), (80, 100), (100, 50)], ids=str)
    def test_of_many_tensors_are_those_of_each(self, shape, axis):
        arrays = [normal(shape, seed=i) for i in range(19)]
        constraint = MaxNorm(2.0, axis)
        for w, found in zip(arrays, apply(constraint, arrays), strict=True):
            assert same(found, constraint(w))


class TestMemory:
    """What is made beyond the weight, as a share of it."""

    @staticmethod
    def share(call, w):
        call(w.clone())  # imports and tables are made once
        w = w.clone()
        return memory.torch_peak(lambda: call(w)) / w.nbytes

    @pytest.mark.parametrize(("shape", "axis"), [((2**18, 2), 0), ((2, 2**18), 1)], ids=str)
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_products_are_made_in_parts_of_an_eighth(self, dtype, shape, axis):
        """In float32 an operand and a result: half of the weight."""
        w, out = normal(shape, dtype), normal(shape, dtype)
        factor = torch.full(tuple(1 if i == axis else n for i, n in enumerate(shape)), 0.7)
        assert self.share(lambda w: KIND.multiply(w, factor, out), w) < 0.6
        assert same(out, (w.float() * factor).to(w.dtype))

    @pytest.mark.parametrize(("shape", "axis"), [((4, 2**17), 0), ((2**17, 4), 1)], ids=str)
    def test_products_of_short_slices_are_made_of_one_entry_of_each(self, shape, axis):
        w, out = normal(shape, "bfloat16"), normal(shape, "bfloat16")
        factor = torch.full(tuple(1 if i == axis else n for i, n in enumerate(shape)), 0.7)
        assert self.share(lambda w: KIND.multiply(w, factor, out), w) < 1.2
        assert same(out, (w.float() * factor).to(w.dtype))

    @pytest.mark.parametrize("axis", [0, 1])
    def test_half_types_are_widened_by_halves(self, axis):
        """A half of the block in float32 is as large as the weight."""
        w = normal((512, 512), "bfloat16")
        for measure in (reductions.sum_of_squares, reductions.sum_of_magnitudes):
            assert self.share(lambda w, m=measure: m(w, (axis,), KIND.xp), w) < 1.2

    @pytest.mark.parametrize("axis", [0, 1])
    def test_where_memory_is_spared_they_are_widened_by_quarters(self, axis):
        w = normal((1024, 1024), "bfloat16")
        for measure in (reductions.sum_of_squares, reductions.sum_of_magnitudes):
            call = functools.partial(KIND.sparingly, measure)
            assert self.share(lambda w, c=call: c(w, (axis,), KIND.xp), w) < 0.6

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_in_place_a_quarter_is_made_of_the_sums(self, axis, dtype):
        w = normal((512, 512), dtype)
        for constraint in (MaxNorm(0.5, axis), L1Ball(0.5, axis)):
            assert self.share(lambda w, c=constraint: c(w, copy=False), w) < 0.6

    @pytest.mark.parametrize(
        ("shape", "axes"),
        [
            ((2**18, 2), (0,)),
            ((2, 2**18), (1,)),
            ((2**19,), (0,)),
            ((1, 8, 8, 8, 8, 8, 8, 2), tuple(range(1, 8))),
        ],
        ids=str,
    )
    def test_sums_of_entries_widen_a_part(self, shape, axes):
        """All of them would be twice the weight in float64."""
        w = normal(shape)
        assert self.share(lambda w: reductions.sum(w, axes, KIND.xp), w) < 0.3
