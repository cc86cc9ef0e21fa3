"""Slices times a number: sizes and decisions by hand, derivatives against differences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from libraries import ALL, DTYPES, JAX, ROUNDOFF

from array_constraints import MaxNorm, MinMaxNorm, UnitNorm, libraries, reductions
from array_constraints.forms import Rescaling
from array_constraints.numerics import rescaling
from array_constraints.numerics.formats import PRECISIONS
from array_constraints.numerics.margins import Interval
from array_constraints.numerics.sums import power_of_two

LARGEST, SMALLEST = np.finfo("float64").max, 5e-324
FAR = {"float16": 8, "bfloat16": 100, "float32": 100, "float64": 1000}
"""Exponents at which the squares of entries leave the range of the dtype, above and below."""


@dataclass(frozen=True)
class Magnitudes(Rescaling):
    """An interval for the sum of magnitudes: a size that is known as it is."""

    lower: float
    upper: float
    axis: int = 0

    measure = staticmethod(reductions.sum_of_magnitudes)
    size = staticmethod(reductions.norm)

    def interval(self):
        return Interval(self.lower, self.upper)


class TestSizes:
    @pytest.mark.parametrize("form", [MinMaxNorm, Magnitudes])
    @pytest.mark.parametrize("dtype", ALL)
    def test_a_slice_is_moved_as_far_as_its_violation_says(self, form, dtype):
        """Of (3, -4) the norm is 5, the sum of magnitudes 7; and as many times 2**exponent."""
        size, far = 5.0 if form is MinMaxNorm else 7.0, FAR[dtype]
        for exponent in (0, far, -far, far // 10, -far // 10):
            unit = 2.0**exponent
            w = np.asarray([[3 * unit], [-4 * unit]]).astype(DTYPES[dtype])
            for lower, upper in ((0, 1), (0, 6), (0, size), (1, 7), (5, 8), (9, 16), (size, 9)):
                c = form(lower * unit, upper * unit)
                distance = max(size - upper, lower - size, 0)
                assert c.violation(w).tolist() == [[distance * unit]]
                factor = min(max(size, lower), upper) / size
                found = c(w).astype("float64") / unit
                expected = [[3 * factor], [-4 * factor]]
                np.testing.assert_allclose(found, expected, rtol=16 * ROUNDOFF[dtype])

    def test_a_violation_is_never_less_than_the_smallest_number(self):
        """The norms are the root of 2 and of 18 times that number, and round to 1 and 4."""
        w = np.asarray([[1, 3], [1, 3]]) * SMALLEST
        assert MaxNorm(SMALLEST).violation(w)[0, 0] == SMALLEST
        assert MaxNorm(4 * SMALLEST).violation(w).tolist() == [[0, SMALLEST]]
        assert MinMaxNorm(2 * SMALLEST, 1.0).violation(w).tolist() == [[SMALLEST, 0]]

    def test_a_norm_is_infinite_above_the_largest_number_alone(self):
        w = np.asarray([[LARGEST, LARGEST], [0.0, LARGEST]])
        c = MaxNorm(1.0)
        assert c.violation(w).tolist() == [[LARGEST, math.inf]]
        with np.errstate(all="raise", under="ignore"):  # of a measure that is made apart, too
            assert c.excess(c.measure(w, (0,), np), np).tolist() == [[LARGEST, math.inf]]

    @pytest.mark.parametrize("dtype", ALL)
    def test_without_an_upper_bound_an_infinite_slice_is_allowed(self, dtype):
        w = np.asarray([[np.inf, 3.0], [1.0, 4.0]]).astype(DTYPES[dtype])
        for c in (MaxNorm(np.inf), MinMaxNorm(0.5, np.inf), Magnitudes(0.0, np.inf)):
            assert c.violation(w).tolist() == [[0, 0]]
            measure = c.measure(w, (0,), np)
            with np.errstate(all="raise", under="ignore"):
                assert c.excess(measure, np).tolist() == [[0, 0]]

    @pytest.mark.parametrize("exponent", [0, 20, 50, -50, -80])
    @pytest.mark.parametrize("length", [26, 38, 40])
    @pytest.mark.parametrize("form", [MinMaxNorm, Magnitudes])
    def test_long_slices_within_their_bound_are_kept_without_float64(
        self, form, length, exponent
    ):
        """2**length entries of 2**24, times a power of two: their norm, and their sum."""
        precision, unit = PRECISIONS["float32", "float32"], np.full((1, 1), 2.0**exponent, "f4")
        scale = power_of_two(2**24 * unit, precision, np)
        power = 2 if form is MinMaxNorm else 1
        size = length // power + 24
        value = (2**size * unit * scale) ** power
        measure = reductions.Sum(2**length, scale, value, 0 * unit, precision, power)
        for bound in (size - 1, size, size + 1, size + 9):
            c = form(0.0, 2.0 ** (bound + exponent))
            distance = max(2.0**size - 2.0**bound, 0)
            assert c.excess(measure, np).tolist() == [[distance * 2.0**exponent]]

    @pytest.mark.parametrize("length", [2, 2**15, 2**16])
    @pytest.mark.parametrize("form", [MaxNorm, lambda bound: Magnitudes(0.0, bound)])
    def test_far_slices_within_a_bound_as_far_are_kept(self, form, length):
        """Sums of up to 2**900 are not scaled, and may be beside such as are."""
        w = np.zeros((length, 3))
        for exponent in (200, 300, 400, 430, 440, 450, 500, 850, 1000):
            w[0] = 2.0**exponent, 2.0**-exponent, 0.0
            constraint = form(2.0 ** (exponent + 10))
            assert not constraint.violation(w).any()
            assert constraint(w) is w

    def test_at_a_rate_of_zero_a_block_comes_back_itself(self):
        w = np.asarray([[3.0], [4.0]])
        c = MinMaxNorm(0.5, 1.0, rate=0.0)
        assert c.apply(w, c.measure(w, (0,), np), np) is w


def along(form, w, tangent, axes=(0,)):
    """The derivative of a form at ``w`` along ``tangent``, as it is stated for norms."""
    w = np.asarray(w)
    library = libraries.of(w)
    measure = library.sum_of_squares(w, axes, in_any_order=True)
    found = rescaling.sizes_of(form, measure, library)
    with np.errstate(all="ignore"):
        return rescaling.derivative(w, np.asarray(tangent, w.dtype), axes, found, library)


class TestDerivative:
    FORMS = (
        MaxNorm(1),
        MaxNorm(0.5),
        MaxNorm(100),
        UnitNorm(),
        MinMaxNorm(0.5, 1.5),
        MinMaxNorm(9, 12),
        MinMaxNorm(2, 4, rate=0.3),
        MinMaxNorm(9, 12, rate=0.75),
        MinMaxNorm(0.25, 0.25, rate=0.5),
    )

    @pytest.mark.parametrize("dtype", ALL)
    def test_examples(self, dtype):
        """At (3, 4) along (1, 0): a fifth of (0.64, -0.48), times the target."""
        w, tangent = np.asarray([3, 4]).astype(DTYPES[dtype]), [1, 0]
        for form, expected in (
            (MaxNorm(1), (0.128, -0.096)),
            (MaxNorm(5), (1, 0)),
            (MinMaxNorm(1, 6), (1, 0)),
            (MinMaxNorm(10, 20), (1.28, -0.96)),
            (MinMaxNorm(1, 2), (0.256, -0.192)),
            (MinMaxNorm(0, 1, rate=0.5), (0.564, -0.048)),
            (MinMaxNorm(10, 20, rate=0.25), (1.07, -0.24)),
            (MinMaxNorm(0, 1, rate=0.0), (1, 0)),
            (UnitNorm(), (0.128, -0.096)),
            (MinMaxNorm(5, 5), (0.64, -0.48)),  # on a sphere: kept, with its derivative
        ):
            found = along(form, w, tangent)
            assert found.dtype == w.dtype
            found, u = found.astype("float64"), ROUNDOFF[dtype]
            np.testing.assert_allclose(found, expected, rtol=8 * u, atol=2.0**-48)

    @pytest.mark.parametrize("form", FORMS, ids=repr)
    @pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2)], ids=str)
    def test_is_the_limit_of_differences(self, form, axes):
        rng, step = np.random.default_rng(0), 2.0**-18
        w = rng.standard_normal((5, 4, 3)) * [0.3, 1.0, 3.0]
        tangent = rng.standard_normal(w.shape)
        form = type(form)(**{**form.get_config(), "axis": axes})
        difference = form(w + step * tangent) - form(w - step * tangent)
        found = along(form, w, tangent, axes)
        np.testing.assert_allclose(found, difference / (2 * step), atol=2e-9, rtol=1e-8)

    @pytest.mark.parametrize("form", FORMS, ids=repr)
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
    def test_of_a_narrow_dtype_is_that_of_float64_rounded(self, form, dtype):
        rng = np.random.default_rng(1)
        w, tangent = rng.standard_normal((2, 3, 50)).astype(DTYPES[dtype])
        exact = along(form, w.astype("float64"), tangent.astype("float64"))
        found = along(form, w, tangent).astype("float64")
        allowed = 8 * ROUNDOFF[dtype]
        np.testing.assert_allclose(
            found, exact, rtol=allowed, atol=allowed * np.abs(exact).max()
        )

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
    def test_of_equal_entries_along_themselves_is_zero(self, dtype):
        """No roundoff is left where their products are exact: here of three digits each."""
        w = np.full((3, 1), 0.625).astype(DTYPES[dtype])
        for form in (UnitNorm(), MaxNorm(0.3), MinMaxNorm(7, 9)):
            assert not along(form, w, w).any()
            assert not along(form, w, np.full_like(w, 7)).any()

    @pytest.mark.parametrize("exponent", [-1000, -500, -300, 300, 500, 1000])
    @pytest.mark.parametrize("form", FORMS, ids=repr)
    def test_far_slices_under_bounds_as_far_have_the_same(self, form, exponent):
        """Weights and bounds, multiplied by one number, leave the Jacobian as it is."""
        rng, unit = np.random.default_rng(2), 2.0**exponent
        w, tangent = rng.standard_normal((2, 4, 6))
        lower, upper, rate = form.interval()
        near = along(MinMaxNorm(lower, upper, rate), w, tangent)
        far = along(MinMaxNorm(lower * unit, upper * unit, rate), w * unit, tangent)
        np.testing.assert_allclose(far, near, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("exponent", [-60, 60])
    def test_of_a_far_slice_is_as_much_smaller_as_that_is_larger(self, dtype, exponent):
        rng = np.random.default_rng(3)
        w, tangent = rng.standard_normal((2, 4, 6)).astype(dtype)
        unit, form = np.asarray(2.0**exponent, dtype), UnitNorm()
        np.testing.assert_allclose(
            along(form, w * unit, tangent) * unit,
            along(form, w, tangent),
            rtol=64 * ROUNDOFF[dtype],
            atol=64 * ROUNDOFF[dtype],
        )

    def test_is_infinite_where_it_is_above_the_largest_number(self):
        """At 1e-320 (3, -4), along (4, 0): 2.56 and 1.92 times 2e619."""
        found = along(MinMaxNorm(1e300, 1e300), [3e-320, -4e-320], [4, 0])
        assert found.tolist() == [math.inf, math.inf]
        found = along(MinMaxNorm(1e300, 1e300), [3e-320, -4e-320], [1e9, 1e9])
        assert found.tolist() == [math.inf, math.inf]

    @pytest.mark.parametrize("dtype", ALL)
    @pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
    def test_is_the_identity_without_a_direction(self, dtype, bad):
        w = np.asarray([[bad, 3.0], [0.0, 4.0]]).astype(DTYPES[dtype])
        for form in (MaxNorm(1), UnitNorm(), MinMaxNorm(0.5, 1, rate=0.5)):
            found = along(form, w, [[1, 1], [0.5, 0]])
            assert found[:, 0].tolist() == [1, 0.5]
            assert 0 < found[0, 1] < 1


def test_jax_traces_the_rate():
    jax = pytest.importorskip("jax")
    with JAX.active():
        w = JAX.array(np.asarray([3.0, 4.0], "float32"))
        slope = jax.jit(jax.grad(lambda w, rate: MinMaxNorm(0.0, 1.0, rate)(w)[0]))
        for rate, expected in ((1.0, (0.128, -0.096)), (0.5, (0.564, -0.048)), (0.0, (1, 0))):
            np.testing.assert_allclose(slope(w, rate), expected, rtol=1e-6, atol=1e-9)
