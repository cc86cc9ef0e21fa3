"""What becomes of a slice depends on that slice: not on those beside it, in any executor."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from libraries import DASK, DTYPES, JAX, NUMPY, STRICT, TORCH, bits, installed

from array_constraints import (
    Constraint,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    Slicewise,
    UnitNorm,
    apply,
    reductions,
)
from array_constraints.files import check_file, project_file

EAGER = [library for library in (NUMPY, TORCH) if installed(library)]
eager = pytest.mark.parametrize("library", EAGER, ids=str)

# What a slice may hold beside others: zeros, numbers whose squares leave the range of one
# format or another, the largest and the smallest, and what is no number.
BESIDE = [0.0, 1e25, -1e30, 3e38, 1e-30, 1e-42, 6e4, 6e-8, math.inf, -math.inf, math.nan]
BESIDE_FLOAT64 = [*BESIDE, 1e170, 1e300, 1.7e308, 1e-170, 1e-300, 1e-310, 5e-324]
# Slices and entries below, at and above the sizes from which partial sums are used (2**13 and
# 2**15 entries), and in several blocks (2**21).
SIZES = [(3, 40), (4, 2049), (8, 4097), (40, 2549)]


def on_their_bound(size, dtype, seed=0):
    """Slices along axis 1 that are all alike, and the norm that they have in float64."""
    slices, entries = size
    row = np.random.default_rng(seed).standard_normal(entries).astype(DTYPES[dtype])
    return np.tile(row, (slices, 1)), float(np.sqrt(np.sum(row.astype("float64") ** 2)))


def constraints(c, axis):
    return [
        MaxNorm(c, axis),
        MinMaxNorm(c / 2, c, axis=axis),
        MinMaxNorm(c, 2 * c, axis=axis),
        MinMaxNorm(c, 2 * c, 0.5, axis),
        MinMaxNorm(c, c, axis=axis),
    ]


def judged(library, constraint, w, axis):
    """The result and the violation along axis 1, where slices run along ``axis``."""
    array = library.array(np.ascontiguousarray(w if axis == 1 else w.T))
    found = (library.numpy(constraint(array)), library.numpy(constraint.violation(array)))
    return tuple(x if axis == 1 else x.T for x in found)


@eager
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_no_bit_depends_on_a_neighbour(library, size, dtype, axis):
    w, c = on_their_bound(size, dtype)
    for constraint in constraints(c, axis):
        alone = judged(library, constraint, w, axis)
        for value in BESIDE_FLOAT64 if dtype == "float64" else BESIDE:
            with np.errstate(all="ignore"):
                w[1, :] = value
            beside = judged(library, constraint, w, axis)
            w[1, :] = w[0]
            for one, other in zip(alone, beside, strict=True):
                assert bits(np.delete(one, 1, 0)) == bits(np.delete(other, 1, 0)), value


@eager
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_bit_depends_on_a_neighbour_in_several_blocks(library, dtype):
    w, c = on_their_bound((37, 70_001), dtype)
    constraint = MaxNorm(c, 1)
    alone = judged(library, constraint, w, 1)
    for value in (1e30, math.nan):
        with np.errstate(all="ignore"):
            w[5, 7:] = value
        beside = judged(library, constraint, w, 1)
        for one, other in zip(alone, beside, strict=True):
            assert bits(np.delete(one, 5, 0)) == bits(np.delete(other, 5, 0))


@pytest.mark.parametrize(
    "library", [lib for lib in (NUMPY, TORCH, JAX) if installed(lib)], ids=str
)
@pytest.mark.parametrize("axis", [0, 1])
def test_violation_is_0_exactly_where_a_slice_is_kept(library, axis):
    """Norms a few roundoffs around the bound; the roots of some are hard to round."""
    generator = np.random.default_rng(1)
    w = generator.integers(1, 1000, (4000, 3)).astype("float32")
    norms = np.sqrt(np.sum(w.astype("float64") ** 2, axis=1))
    with library.active():
        for c in (960.158841025796, *norms[:6], float(np.nextafter(norms[6], 0))):
            near = (w * (c / norms)[:, None]).astype("float32")
            near[0] = (160, 704, 633)
            result, violation = judged(library, MaxNorm(float(c), axis), near, axis)
            kept = (result == near).all(axis=1)
            np.testing.assert_array_equal(violation[:, 0] == 0, kept)
            assert 0 < kept.sum() < len(kept)


@eager
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_twice_is_once_beside_a_slice_that_is_far_out(library, size, dtype):
    for seed in range(10):
        w, c = on_their_bound(size, dtype, seed)
        w[0] = min(1e25, float(np.finfo("float16").max)) if dtype == "float16" else 1e25
        for constraint in (MaxNorm(c, 1), MinMaxNorm(c / 2, c, axis=1)):
            once, _ = judged(library, constraint, w, 1)
            twice, violation = judged(library, constraint, once, 1)
            assert bits(twice) == bits(once)
            assert not violation.any()


class L1(Slicewise):
    """A form of one's own, whose product is not exact where a slice is allowed."""

    axis = 1

    def measure(self, block, axes, xp):
        return xp.sum(xp.abs(reductions.accumulated(block, xp)), axis=axes, keepdims=True), 1

    def merge(self, a, b, xp):
        return a[0] + b[0], 1

    def excess(self, measure, xp):
        return xp.where(measure[0] > 10, measure[0] - 10, xp.zeros_like(measure[0]))

    def apply(self, block, measure, xp):
        inner = xp.where(measure[0] > 9.9, measure[0], measure[0] / measure[0] * 9.9)
        return xp.astype(reductions.accumulated(block, xp) * (9.9 / inner), block.dtype)


@eager
def test_an_allowed_slice_of_a_form_of_ones_own_is_kept_beside_one_that_is_not(library):
    w = np.full((50, 30), 9.95 / 30, "float32")
    w[3] = 7.0
    result, _ = judged(library, L1(), w, 1)
    assert bits(np.delete(result, 3, 0)) == bits(np.delete(w, 3, 0))
    assert float(np.sum(result[3])) == pytest.approx(9.9)


@pytest.mark.parametrize("library", [*EAGER, JAX, DASK, STRICT], ids=str)
def test_a_form_of_ones_own_keeps_what_it_allows_however_it_runs(library):
    w = np.full((50, 30), 9.95 / 30, "float32")
    w[3] = 7.0
    with library.active():
        for array in (library.array(w), library.array(w[3:4]), library.array(w[4:6])):
            result = library.numpy(L1()(array))
            kept = library.numpy(L1().violation(array))[:, 0] == 0
            before = library.numpy(array)
            assert bits(result[kept]) == bits(before[kept])
            assert not np.array_equal(result[~kept], before[~kept]) or kept.all()


class TestApply:
    """Many weights at once: each comes out as from a call of its own."""

    @eager
    @pytest.mark.filterwarnings("ignore:.*makes slices of one entry:UserWarning")
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("axis", [0, 1, None])
    @pytest.mark.parametrize("shape", [(64, 64), (7, 130), (128, 1), (100, 100)], ids=str)
    def test_as_from_a_call_of_its_own(self, library, shape, axis, dtype):
        weights = [
            np.random.default_rng(i % 3).standard_normal(shape).astype(dtype) for i in range(12)
        ]
        norms = np.sqrt(np.sum(weights[0].astype("float64") ** 2, axis=axis))
        constraint = MinMaxNorm(float(norms.min()), float(np.median(norms)), axis=axis)
        for value in (None, math.inf, math.nan, 0.0, 6e4, 6e-8):
            if value is not None:
                weights[8][0, 0] = value
            arrays = [library.array(w) for w in weights]
            for found, array in zip(apply(constraint, arrays), arrays, strict=True):
                assert bits(library.numpy(found)) == bits(library.numpy(constraint(array)))

    @eager
    def test_an_infinity_in_one_changes_no_bit_of_the_others(self, library):
        w, c = on_their_bound((64, 64), "float32")
        weights = [w.copy() for _ in range(9)]
        weights[8][0, 0] = math.inf
        for found in apply(MaxNorm(c, 1), [library.array(w) for w in weights])[:8]:
            assert bits(library.numpy(found)) == bits(w)

    @eager
    @pytest.mark.parametrize("copy", [None, False])
    @pytest.mark.parametrize("constraint", [MinMaxNorm(0, 1, 0.5, 1), UnitNorm(1)], ids=repr)
    def test_tied_weights_are_constrained_once_and_stay_tied(self, library, constraint, copy):
        w = np.full((5, 3), 4.0, "float32")
        expected = library.numpy(constraint(library.array(w)))
        tied, other = library.array(w), library.array(w)
        view = tied[:] if library is NUMPY else tied.detach()
        weights = {"a": tied, "b": [other, view], "c": tied}
        found = apply(constraint, weights, copy=copy)
        for result in (found["a"], *found["b"], found["c"]):
            np.testing.assert_array_equal(library.numpy(result), expected)
        assert found["c"] is found["a"]
        assert found["b"][0] is not found["a"]
        if copy is False:
            assert found["a"] is tied
            assert found["b"][1] is view
        else:
            assert found["b"][1] is found["a"]
            assert bits(library.numpy(tied)) == bits(w)

    @eager
    def test_tied_weights_that_are_allowed_are_returned_themselves(self, library):
        tied = library.array(np.full((5, 3), 0.5, "float32"))
        view = tied[:] if library is NUMPY else tied.detach()
        first, second = apply(MaxNorm(10.0), [tied, view])
        assert (first is tied, second is view) == (True, True)

    @eager
    def test_views_of_one_memory_that_differ_are_each_constrained(self, library):
        w = library.array(np.full((4, 4), 3.0, "float32"))
        apply(MaxNorm(1.0, axis=1), [w[:2], w[2:]], copy=False)
        np.testing.assert_allclose(np.linalg.norm(library.numpy(w), axis=1), 1, rtol=1e-5)

    @eager
    def test_what_is_no_form_is_called_once_for_tied_weights(self, library):
        class Half(Constraint):
            def __call__(self, w, *, copy=None):
                w *= 0.5
                return w

        w = library.array(np.full(4, 8.0, "float32"))
        apply(Half(), [w, w[:], w], copy=False)
        assert library.numpy(w).tolist() == [4.0] * 4

    def test_two_views_of_memory_that_no_array_owns_are_tied(self):
        memory = bytearray(np.asarray([3.0, 4.0]).tobytes())
        w, other = np.frombuffer(memory), np.frombuffer(memory)
        apply(MinMaxNorm(0.0, 1.0, 0.5, None), [w, other], copy=False)
        assert np.linalg.norm(w) == pytest.approx(3.0)

    def test_a_subclass_keeps_its_type_beside_its_base(self):
        class Own(np.ndarray):
            pass

        w = np.full(3, -1.0)
        for weights in ([w, w.view(Own)], [w.view(Own), w]):
            found = apply(NonNeg(), weights)
            assert [type(x) for x in found] == [type(x) for x in weights]

    def test_tensors_without_memory_of_their_own_are_not_tied(self):
        """Wrappers have no address; the sign of an imaginary part is not in its memory."""
        torch = pytest.importorskip("torch")
        from torch.testing._internal.two_tensor import TwoTensor

        def both(value):
            return TwoTensor(torch.full((4, 3), value), torch.full((4, 3), value))

        first, second = apply(MaxNorm(1.0), [both(5.0), both(0.01)])
        assert float(first.a[0, 0]) == pytest.approx(0.5, rel=1e-5)
        assert float(second.a[0, 0]) == pytest.approx(0.01)
        z = torch.complex(torch.zeros(4), torch.tensor([1.0, -2.0, 3.0, -4.0]))
        first, second = apply(NonNeg(), [z.imag, z.conj().imag])
        assert (first.tolist(), second.tolist()) == ([1, 0, 3, 0], [0, 2, 0, 4])
        mapped = torch.func.vmap(lambda w: tuple(apply(NonNeg(), [w, w])))
        assert all(bool((x == 1).all()) for x in mapped(torch.ones(2, 3)))

    def test_tangents_are_those_of_each_weight(self):
        torch = pytest.importorskip("torch")
        ad = torch.autograd.forward_ad
        with warnings.catch_warnings(), ad.dual_level():
            warnings.simplefilter("ignore")  # torch uses what it deprecates
            w = torch.full((4, 3), 5.0)
            dual = ad.make_dual(w, torch.ones(4, 3))
            assert ad.unpack_dual(apply(MaxNorm(1.0), [dual, w])[1]).tangent is None

    @eager
    def test_a_new_array_of_each_is_asked_for(self, library):
        tied = library.array(np.full((5, 3), 4.0, "float32"))
        first, second = apply(MaxNorm(1.0), [tied, tied], copy=True)
        assert first is not second
        assert bits(library.numpy(first)) == bits(library.numpy(second))


class TestFiles:
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_a_file_has_nothing_left_to_mend_and_no_slice_depends_on_another(
        self, tmp_path, dtype, axis
    ):
        w, c = on_their_bound((40, 2549), dtype)
        constraint, results = MaxNorm(c, axis), []
        for value in (None, 6e4, math.inf):
            if value is not None:
                w[0] = value
            np.save(tmp_path / "w.npy", w if axis == 1 else w.T)
            project_file(tmp_path / "w.npy", tmp_path / "o.npy", constraint, overwrite=True)
            project_file(tmp_path / "o.npy", tmp_path / "p.npy", constraint, overwrite=True)
            results.append(np.load(tmp_path / "o.npy"))
            assert bits(np.load(tmp_path / "p.npy")) == bits(results[-1])
            summary = check_file(tmp_path / "o.npy", constraint).tensors[0].before
            assert summary.violating == (value == math.inf)
        rows = [bits((r if axis == 1 else r.T)[1:]) for r in results]
        assert rows[0] == rows[1] == rows[2]
