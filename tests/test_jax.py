"""What JAX's library does in particular: float64, gradients and traced bounds."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import normal

from array_constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg

jax = pytest.importorskip("jax")

from array_constraints.libraries.jax import JAX as KIND  # noqa: E402


def test_no_module_of_tests_has_enabled_float64_as_it_was_imported():
    assert not jax.config.jax_enable_x64


def test_float64_is_where_it_is_enabled_and_where_an_array_has_it():
    narrow = jax.numpy.zeros(3)
    with jax.enable_x64(True):
        wide = jax.numpy.zeros(3)
        assert KIND.has_float64(narrow)
    with jax.enable_x64(False):
        assert not KIND.has_float64(narrow)
        assert KIND.has_float64(wide)


@pytest.mark.parametrize("dtype", ["int8", "int32", "float32"])
def test_what_is_less_than_zero_is_negative(dtype):
    w = np.asarray([-2, -1, 0, 1, 2], dtype)
    np.testing.assert_array_equal(KIND.negative(jax.numpy.asarray(w)), w < 0)


class TestGradients:
    """Of the sum of a slice (3, 4) that is scaled to a norm, by it and by that norm."""

    w = np.asarray([[3.0], [4.0]], "float32")

    @staticmethod
    def total(w, bound):
        return MaxNorm(bound)(jax.numpy.asarray(w)).sum()

    @pytest.mark.parametrize("bound", [2, np.asarray(2), np.asarray([2]), 2.0], ids=repr)
    def test_by_the_weight_where_the_bound_is_traced(self, bound):
        """Whole numbers have no tangent."""
        for derivative in (jax.grad, jax.jacfwd):
            found = jax.jit(derivative(self.total))(self.w, bound)
            expected = 2 / 5 - 2 * self.w * 7 / 125
            np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_by_the_bound(self):
        for derivative in (jax.grad, jax.jacfwd):
            found = jax.jit(derivative(self.total, argnums=1))
            assert float(found(self.w, 2.0)) == pytest.approx(7 / 5, rel=1e-6)
            assert float(found(self.w, 6.0)) == 0

    def test_along_both(self):
        along = jax.jit(lambda *moves: jax.jvp(self.total, (self.w, 2.0), moves)[1])
        moved = along(np.ones_like(self.w), 1.0)
        expected = (2 / 5 - 2 * self.w * 7 / 125).sum() + 7 / 5
        assert float(moved) == pytest.approx(expected, rel=1e-5)


class Elsewhere(Constraint):
    """One whose results are in float64, in device memory, on no mesh."""

    def __call__(self, w, *, copy=None):
        with jax.enable_x64(True):
            return jax.numpy.asarray(np.asarray(w, "float64") / 2)


class TestDtypes:
    """A violation is in float64 where that is enabled, and else as narrow as float32."""

    @pytest.mark.parametrize("x64", [False, True])
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_of_violations_and_of_results(self, x64, dtype):
        with jax.enable_x64(True):
            w = jax.numpy.asarray(normal((4, 3), dtype))
        with jax.enable_x64(x64):
            for constraint in (MaxNorm(0.5), NonNeg(), Elsewhere()):
                narrow = not x64 and dtype != "float64"
                found = constraint.violation(w)
                assert found.dtype == ("float32" if narrow else "float64")
            for constraint in (MaxNorm(0.5), NonNeg()):
                assert constraint(w).dtype == dtype

    def test_violations_below_the_normal_numbers_are_the_smallest_of_them(self):
        """XLA takes those below for zeros."""
        least = 2.0**-126
        excess = np.asarray([0.0, 2.0**-149, least / 8, least, 1.5 * least, 0.5])
        bounds = np.asarray([least] * 5 + [0.25])
        w = np.stack([bounds + excess, np.zeros(6)]).astype("float32")
        with jax.enable_x64(False):
            found = MaxNorm(tuple(bounds)).violation(jax.numpy.asarray(w))
        expected = np.where(excess > 0, np.maximum(excess, least), 0.0)
        np.testing.assert_array_equal(found, expected[None].astype("float32"), strict=True)


@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_a_slice_of_one_nan_has_a_violation_of_nan(order):
    """XLA takes it for true that a magnitude is at least 0, whatever it is of."""
    found = MaxNorm(0.7, order=order).violation(jax.numpy.asarray([[np.nan, 0.2]]))
    np.testing.assert_array_equal(found, [[np.nan, 0.0]])


def test_a_traced_bound_has_no_dimension_or_one_where_each_slice_may_have_its_own():
    w = jax.numpy.ones((2, 2))
    per_slice = jax.jit(lambda m: MaxNorm(m)(w))(jax.numpy.asarray([1.0, 2.0]))
    np.testing.assert_allclose(np.linalg.norm(per_slice, axis=0), [1, 2**0.5], rtol=1e-6)
    for name, make, bound in (
        ("max_value", MaxNorm, jax.numpy.ones((2, 2))),
        ("min_value", lambda m: MinMaxNorm(m, 2.0), jax.numpy.ones((2, 2))),
        ("rate", lambda m: MinMaxNorm(0.5, 2.0, m), jax.numpy.ones(2)),
    ):
        with pytest.raises(TypeError, match=f"{name} must be a real number"):
            jax.jit(lambda m, make=make: make(m)(w))(bound)


def test_one_bound_is_traced_and_the_other_a_number():
    w = jax.numpy.asarray([[3.0, 0.3], [4.0, 0.4]])
    below = jax.jit(lambda m: MinMaxNorm(m, 2.0)(w))(1.0)
    above = jax.jit(lambda m: MinMaxNorm(1.0, m)(w))(2.0)
    for found in (below, above):
        np.testing.assert_allclose(np.linalg.norm(found, axis=0), [2, 1], rtol=1e-6)
