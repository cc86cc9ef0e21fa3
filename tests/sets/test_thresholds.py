"""The simplex and the L1 ball: examples worked by hand, and laws in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libraries import (
    DTYPES,
    JAX,
    JAX_X64,
    LIBRARIES_AND_DTYPES,
    NUMPY,
    ROUNDOFF,
    TORCH,
    bits,
    normal,
)
from slices_to_threshold import (
    FAMILIES,
    TOTALS,
    exact_ball,
    exact_projection,
    exact_sum,
    slice_of,
    slices,
)

from array_constraints import L1Ball, Simplex
from array_constraints.numerics.formats import FORMATS

BOTH = pytest.mark.parametrize("cls", [Simplex, L1Ball])


@pytest.fixture(params=LIBRARIES_AND_DTYPES, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def library_and_dtype(request):
    library, dtype = request.param
    with library.active():
        yield library, dtype


def called(library, constraint, w):
    """Return the result, and the violation of it."""
    found = constraint(library.array(w))
    return library.values(found, constraint.violation(found))


class TestExamples:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_simplex_takes_one_number_off(self, dtype):
        w = np.asarray([2.0, 1.0, -1.0], dtype=DTYPES[dtype])
        np.testing.assert_array_equal(Simplex(2.0)(w), np.asarray([1.5, 0.5, 0.0], w.dtype))

    def test_ball_takes_one_number_off_magnitudes(self):
        found = L1Ball(2.0)(np.asarray([-2.0, 1.0, 0.25]))
        np.testing.assert_allclose(found, [-1.5, 0.5, 0.0], rtol=1e-15)

    def test_axes(self):
        w = np.asarray([[3.0, 0.0], [0.0, 1.0]])
        np.testing.assert_array_equal(Simplex(1.0, 0)(w), [[1, 0], [0, 1]])
        np.testing.assert_array_equal(Simplex(4.0, None)(w), w)
        np.testing.assert_array_equal(Simplex(2.0, (0, 1))(w), [[2, 0], [0, 0]])

    def test_violation_of_the_simplex(self):
        w = np.asarray([[0.5, 2.0, -3.0], [0.5, 2.0, 4.0]])
        np.testing.assert_array_equal(Simplex(1.0).violation(w), [[0.0, 3.0, 3.0]])

    def test_violation_of_the_ball(self):
        w = np.asarray([[0.5, -2.0], [-0.25, 2.0]])
        np.testing.assert_array_equal(L1Ball(1.0).violation(w), [[0.0, 3.0]])

    def test_what_is_allowed_stays_bit_for_bit(self):
        w = np.asarray([0.25, 0.75, -0.0])
        assert bits(Simplex(1.0)(w)) == bits(w)
        assert bits(L1Ball(1.0)(-w)) == bits(-w)
        assert bits(L1Ball(float("inf"))(100 * w)) == bits(100 * w)

    def test_a_ball_of_radius_0_holds_zeros(self):
        np.testing.assert_array_equal(L1Ball(0.0)(np.asarray([1.0, -2.0])), [0.0, 0.0])


class TestErrors:
    @pytest.mark.parametrize("total", [0, -1.0, float("inf"), float("nan")])
    def test_a_total_is_positive_and_finite(self, total):
        with pytest.raises(ValueError, match="total"):
            Simplex(total)

    @pytest.mark.parametrize("radius", [-1.0, float("nan")])
    def test_a_radius_is_not_negative(self, radius):
        with pytest.raises(ValueError, match="radius"):
            L1Ball(radius)

    @BOTH
    def test_integers_are_refused(self, cls):
        with pytest.raises(TypeError, match="floating"):
            cls()(np.asarray([1, 2]))

    @BOTH
    def test_an_axis_that_is_not_there(self, cls):
        with pytest.raises(ValueError, match="axis"):
            cls(1.0, 2)(np.ones((2, 2)))


@BOTH
class TestEveryLibrary:
    def test_sums_are_right_and_twice_is_once(self, cls, library_and_dtype):
        library, dtype = library_and_dtype
        u = Fraction(ROUNDOFF[dtype])
        w = np.stack([slice_of(family, 300, dtype) for family in FAMILIES], axis=1)
        for total in TOTALS:
            if dtype == "float16" and total < 300 * 2.0**-14:
                continue
            constraint, s = cls(total), Fraction(total)
            found, violation = called(library, constraint, w)
            assert found.dtype == w.dtype
            assert not violation.any()
            again = library.values(constraint(library.array(found)))[0]
            assert bits(again) == bits(found)
            for before, after in zip(w.T, found.T, strict=True):
                off = (exact_sum(np.abs(after)) - s) / s / u
                if cls is Simplex:
                    assert (after >= 0).all()
                    assert abs(off) <= (3 if dtype == "float64" else 1 + Fraction(2) ** -14)
                elif exact_sum(np.abs(before)) <= s:
                    assert bits(after) == bits(before)
                else:
                    assert -(6 if dtype == "float64" else 2.001) <= off <= 0

    def test_the_whole_range(self, cls, library_and_dtype):
        library, dtype = library_and_dtype
        fmt, rounded = FORMATS[dtype], dtype == "float64"  # the sums here are, too
        large, small = fmt.largest, fmt.smallest_normal
        if dtype == "float64":  # its roundoffs have to be normal numbers, too, on JAX
            small *= 2.0**60
        w = np.asarray(
            [
                [large, large, 1.0, small, 4 * small, 1.0],
                [large, -large, 1.0, 0.0, 64 * small, 1e4 + 1],
                [large, large / 2, 1.0, small, 64 * small, 1e4 - 1],
            ],
            dtype=np.float64,
        ).astype(DTYPES[dtype])
        for total in (1.0, min(large / 4, 1e300), 96 * small):
            found, violation = called(library, cls(total), w)
            sums = np.sum(np.abs(found.astype(np.float64)) / total, axis=0)
            with np.errstate(over="ignore"):
                inside = np.sum(np.abs(w.astype(np.float64)) / total, axis=0) <= 1
            tolerance = (4 + rounded) * ROUNDOFF[dtype] + 3 * small * ROUNDOFF[dtype] / total
            expected = np.where(inside & (cls is L1Ball), sums, 1.0)
            np.testing.assert_allclose(sums, expected, rtol=tolerance * 2)
            assert not violation.any()

    def test_a_slice_that_has_no_direction_stays(self, cls, library_and_dtype):
        library, dtype = library_and_dtype
        nan, inf = float("nan"), float("inf")
        w = np.asarray([[nan, inf, 3.0], [2.0, 5.0, 1.0]], dtype=DTYPES[dtype])
        w = np.concatenate([w, np.ones((70, 3), dtype=w.dtype)])
        found, violation = library.values(
            cls(1.0)(library.array(w)), cls(1.0).violation(library.array(w))
        )
        assert bits(found[:, :2]) == bits(w[:, :2])
        assert np.isnan(violation[0, 0])
        assert violation[0, 1] == inf
        assert violation[0, 2] == 73
        assert found[:, 2].astype(np.float64).sum() == pytest.approx(1, abs=0.01)

    def test_minus_infinity(self, cls, library_and_dtype):
        library, dtype = library_and_dtype
        w = np.asarray([-np.inf, 2.0, 1.0], dtype=DTYPES[dtype])
        found = library.values(cls(1.0)(library.array(w)))[0]
        expected = [0.0, 1.0, 0.0] if cls is Simplex else w
        np.testing.assert_array_equal(found, np.asarray(expected, dtype=w.dtype))

    def test_one_entry_and_none(self, cls, library_and_dtype):
        library, dtype = library_and_dtype
        w = np.asarray([[3.0, -0.5]], dtype=DTYPES[dtype])
        found = library.values(cls(1.0)(library.array(w)))[0]
        np.testing.assert_allclose(
            found.astype(np.float64),
            [[1.0, 1.0 if cls is Simplex else -0.5]],
            rtol=3 * ROUNDOFF[dtype],
        )
        empty = np.zeros((0, 2), dtype=w.dtype)
        assert library.values(cls(1.0)(library.array(empty)))[0].shape == (0, 2)


class TestTheBall:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_never_leaves_itself_and_is_nearest(self, dtype):
        u = Fraction(ROUNDOFF[dtype])

        @given(slices(dtype, (1, 2, 5, 33, 200)), st.sampled_from(TOTALS))
        def holds(values, radius):
            if values.size * 2.0**-14 > radius and dtype == "float16":
                return
            found, r = L1Ball(radius)(values), Fraction(radius)
            total = exact_sum(np.abs(values))
            off = exact_sum(np.abs(found)) - r
            if total <= r or abs(total - r) <= r * Fraction(2) ** -40:
                return
            assert off <= 0
            assert off >= -r * u * (6 if dtype == "float64" else 2.001)
            nearest = exact_ball(values, radius)
            pairs = zip(found.astype(np.float64).tolist(), nearest, strict=True)
            most = 6 * u * r + Fraction(2) ** -52 * r * values.size
            assert max(abs(Fraction(x) - y) for x, y in pairs) <= most

        holds()


@BOTH
class TestAtHand:
    """Long columns, rows and odd layouts take other ways than one expression does."""

    @pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
    @pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
    @pytest.mark.parametrize("axis", [0, 1, None])
    def test_slices_are_alone_whatever_the_layout(self, cls, library, dtype, axis):
        w = np.stack([slice_of(family, 5000, dtype) for family in FAMILIES], axis=1)
        with library.active():
            whole = library.numpy(cls(1.0, axis)(library.array(w)))
            if axis is None:
                sums = np.abs(whole.astype(np.float64)).sum()
                assert sums == pytest.approx(1, abs=6 * ROUNDOFF[dtype])
                return
            order = np.asfortranarray(w)
            turned = library.numpy(cls(1.0, 1 - axis)(library.array(order.T.copy()).T.T))
            np.testing.assert_array_equal(turned.T, whole)
            for j in (0, 7, 18):
                one = w[:, j : j + 1] if axis == 0 else w[j : j + 1]
                alone = library.numpy(cls(1.0, axis)(library.array(one.copy())))
                same = whole[:, j : j + 1] if axis == 0 else whole[j : j + 1]
                np.testing.assert_allclose(
                    alone.astype(np.float64), same.astype(np.float64), atol=ROUNDOFF[dtype]
                )

    @pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
    @pytest.mark.parametrize("n", [384, 5000])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_neighbours_do_not_count(self, cls, library, n, axis):
        """Of some, few entries are about the threshold, of others many, or all."""
        w = np.stack([slice_of(family, n, "float32") for family in FAMILIES])

        def projected(rows):
            constraint = cls(1.0, axis)
            found = constraint(library.array(rows if axis else rows.T.copy()))
            return library.numpy(found) if axis else library.numpy(found).T

        with library.active():
            found = projected(w)
            for name in ("uniform", "equal", "cauchy"):
                other = w.copy()
                other[1::2] = slice_of(name, n, "float32", 5)
                again = projected(other)
                assert bits(again[::2]) == bits(found[::2])

    @pytest.mark.parametrize("axis", [0, 1])
    def test_rows_of_few_and_of_many_are_nearest(self, cls, axis):
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((40, 384)) * np.asarray([1.0, 0.02])[:, None].repeat(20, 0)
        w = rows.astype("float32")
        found = cls(1.0, 1)(w) if axis else cls(1.0, 0)(w.T.copy()).T
        exact = exact_ball if cls is L1Ball else exact_projection
        for row, result in zip(w[::5], found[::5], strict=True):
            nearest = np.asarray([float(x) for x in exact(row, 1.0)])
            np.testing.assert_allclose(result, nearest, atol=3 * ROUNDOFF["float32"])

    @pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
    def test_some_slices_move_and_some_do_not(self, cls, library):
        w = np.abs(normal((4096, 6)))
        w[:, :3] /= w[:, :3].astype(np.float64).sum(0)
        w[17, 5] = np.nan
        with library.active():
            constraint = cls(1.0)
            found = library.numpy(constraint(library.array(w)))
            moved = library.numpy(constraint.violation(library.array(w)))[0] > 0
            for j in range(6):
                if not moved[j]:
                    assert bits(found[:, j]) == bits(w[:, j])
            assert moved.any()
            np.testing.assert_allclose(found[:, moved].sum(0, dtype="f8"), 1, rtol=2e-7)


@BOTH
class TestDerivatives:
    W = np.asarray([[0.6, -0.2], [0.9, 0.3], [-0.7, 0.1]])

    def expected(self, cls, w):
        active = np.asarray(cls(1.0)(w)) != 0
        sign = np.where(w < 0, -1.0, 1.0) if cls is L1Ball else np.ones_like(w)
        if cls is L1Ball and np.abs(w).sum() <= 1:
            return np.eye(w.size)
        a = active * sign
        return np.diag(active.astype(float)) - np.outer(a, a) / active.sum()

    @pytest.mark.parametrize("library", [TORCH, JAX_X64], ids=str)
    def test_are_those_of_the_active_entries(self, cls, library):
        with library.active():
            for w in self.W.T:
                if library is TORCH:
                    import torch

                    found = torch.autograd.functional.jacobian(cls(1.0), library.array(w))
                else:
                    import jax

                    found = jax.jacrev(cls(1.0))(library.array(w))
                    forward = jax.jacfwd(jax.jit(cls(1.0)))(library.array(w))
                    np.testing.assert_allclose(np.asarray(forward), self.expected(cls, w))
                np.testing.assert_allclose(library.numpy(found), self.expected(cls, w))

    def test_pass_gradcheck_and_vmap(self, cls):
        torch = pytest.importorskip("torch")
        w = torch.tensor(normal((6, 3), "float64"), requires_grad=True)
        assert torch.autograd.gradcheck(cls(1.0), w)
        batch = torch.stack([w.detach(), 3 * w.detach()])
        grad = torch.func.grad(lambda w: (cls(1.0)(w) ** 2).sum())
        mapped = torch.func.vmap(grad)(batch)
        torch.testing.assert_close(mapped[1], grad(batch[1]))

    def test_are_finite_at_ties_and_zeros(self, cls):
        jax = pytest.importorskip("jax")
        for w in (np.zeros((4, 2)), np.ones((4, 2)), np.full((4, 2), 3e38)):
            found = jax.grad(lambda w: (cls(1.0)(w) ** 2).sum())(JAX.array(w.astype("f4")))
            assert np.isfinite(np.asarray(found)).all()

    def test_a_bound_may_be_traced(self, cls):
        jax = pytest.importorskip("jax")
        w = JAX.array(normal((50, 3)))
        found = jax.jit(lambda s: abs(cls(s)(w)).sum(0))(2.0)
        np.testing.assert_allclose(np.asarray(found), 2.0, rtol=1e-6)
        moved = jax.grad(lambda s: abs(cls(s)(w)).sum())(2.0)
        assert float(moved) == pytest.approx(3, rel=1e-6)


class TestPeers:
    @BOTH
    def test_optax_is_as_near_as_its_errors_allow(self, cls):
        optax = pytest.importorskip("optax")
        theirs = {
            Simplex: optax.projections.projection_simplex,
            L1Ball: optax.projections.projection_l1_ball,
        }[cls]
        for family in FAMILIES:
            w = slice_of(family, 300, "float32")
            if family == "offset" or np.abs(w).max() > 1e3:
                continue  # its sums of entries that large are off by more than 1
            for total in TOTALS:
                found = np.asarray(theirs(JAX.array(w), total))
                atol = 300 * 2.0**-24 * max(float(np.abs(w).sum()), total) / 10
                np.testing.assert_allclose(cls(total)(w), found, atol=atol, rtol=1e-5)
