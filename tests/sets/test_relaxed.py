"""A share of the way: from the weight to what another constraint allows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from array_constraints import (
    Blocks,
    Box,
    Constraint,
    Halfspace,
    MaxNorm,
    Mean,
    MinMaxNorm,
    NMSparse,
    NonNeg,
    Relaxed,
    Rescaling,
    Sphere,
    Standardized,
    WholeSlice,
)

INNER = [
    MaxNorm(1.0),
    MaxNorm((0.5, 1.0, 2.0, 4.0)),
    Sphere(2.0, axis=1),
    Mean(0.5),
    Standardized(),
    Halfspace((1.0, -2.0, 1.0, 0.5, 3.0, 1.0)),
    Box(-0.5, 0.5),
    NMSparse(2, 4),
    Blocks(Sphere(1.0, axis=None), size=3),
]


class Sorted(WholeSlice):
    axis = 0

    def project(self, slices, xp):
        return xp.sort(slices, axis=-1)

    def excess(self, slices, xp):
        moved = xp.abs(slices - xp.sort(slices, axis=-1))
        return xp.max(moved, axis=-1, keepdims=True)


class Halve(Constraint):
    def __call__(self, w):
        return w / 2


def weight(dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 4)).astype(dtype)


@pytest.mark.parametrize("inner", [*INNER, Sorted(), Halve()], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.9, 1.0])
def test_it_goes_that_share_of_the_way(inner, rate):
    w = weight()
    image = inner(w)
    wide = w.astype("float64")
    expected = wide + rate * (np.asarray(image, "float64") - wide)
    bound = 3 * 2.0**-24 * np.maximum(np.abs(w), np.abs(image))
    relaxed = Relaxed(inner, rate)
    result = relaxed(w)
    assert result.dtype == w.dtype
    assert (np.abs(result - expected) <= bound).all()
    np.testing.assert_array_equal(relaxed.violation(w), inner.violation(w))
    if rate == 0:
        np.testing.assert_array_equal(result, w)
    if rate == 1 and not isinstance(inner, Rescaling):  # those take another way to a product
        np.testing.assert_array_equal(result, image)
    in_place = w.copy()
    assert relaxed(in_place, copy=False) is in_place
    np.testing.assert_array_equal(in_place, result)


@pytest.mark.parametrize("inner", [c for c in INNER if c != Standardized()], ids=str)
def test_what_is_satisfied_comes_back_bit_for_bit(inner):
    w = weight()
    kept = inner(w)
    kept = kept + np.where(kept == 0, np.float32(-0.0), np.float32(0))
    assert Relaxed(inner, 0.3)(kept).tobytes() == kept.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(st.floats(-1e308, 1e308), min_size=3, max_size=3),
    rate=st.floats(0.0, 1.0),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
def test_the_share_is_exact_within_three_roundoffs(entries, rate, dtype):
    with np.errstate(over="ignore"):
        w = np.asarray(entries).astype(dtype)
    w = np.where(np.isfinite(w), w, np.asarray(1.0, dtype))
    inner = Box(-1.0, 3.0)
    result, image = Relaxed(inner, rate)(w), inner(w)
    u, tiny = Fraction(float(np.finfo(dtype).eps)) / 2, Fraction(float(np.finfo(dtype).tiny))
    for x, p, found in zip(w.tolist(), image.tolist(), result.tolist(), strict=True):
        exact = Fraction(x) + Fraction(rate) * (Fraction(p) - Fraction(x))
        assert abs(Fraction(found) - exact) <= 3 * u * max(
            abs(Fraction(x)), abs(Fraction(p)), tiny
        )
        assert min(x, p) <= found <= max(x, p) or found == pytest.approx(p, rel=1e-3)


def test_each_call_brings_the_distance_to_a_convex_set_down_by_the_rate():
    w, relaxed = weight("float64"), Relaxed(MaxNorm(0.5), 0.25)
    before = np.max(MaxNorm(0.5).violation(w))
    for calls in (1, 2, 3):
        w = relaxed(w)
        left = np.max(relaxed.violation(w))
        assert left == pytest.approx(before * 0.75**calls)
    assert (relaxed(w) != w).any()  # so it is not idempotent


def test_it_is_the_rate_of_min_max_norm():
    w = weight("float64")
    one, other = MinMaxNorm(0.5, 1.0, rate=0.3), Relaxed(MinMaxNorm(0.5, 1.0), 0.3)
    np.testing.assert_allclose(other(w), one(w), rtol=1e-15)


def test_there_is_no_halfway_from_infinity_or_nan():
    w = np.asarray([np.inf, -np.inf, np.nan, 4.0])
    np.testing.assert_array_equal(Relaxed(Box(-1.0, 2.0), 0.5)(w), [np.inf, -np.inf, np.nan, 3])
    np.testing.assert_array_equal(Relaxed(Box(-1.0, 2.0), 1.0)(w), [2.0, -1.0, np.nan, 2.0])
    slices = np.asarray([[np.nan, np.inf, 3.0], [1.0, 1.0, 4.0]])
    found = Relaxed(MaxNorm(1.0), 0.5)(slices)
    np.testing.assert_allclose(found, [[np.nan, np.inf, 1.8], [1.0, 1.0, 2.4]])


def test_ends_of_the_range_have_a_middle():
    w = np.asarray([1.7e308, -1.7e308])
    found = Relaxed(Sphere(1.0), 0.5)(w)
    np.testing.assert_allclose(found, w / 2)
    bound = Box(-1.7e308, -1.6e308)
    np.testing.assert_allclose(Relaxed(bound, 0.5)(w), [0.05e308, -1.7e308], rtol=1e-14)


def test_a_rescaling_of_ones_own_is_relaxed_too():
    from array_constraints import Interval, reductions

    class L1Ball(Rescaling):
        axis = 0
        measure = staticmethod(reductions.sum_of_magnitudes)
        size = staticmethod(reductions.norm)

        def interval(self):
            return Interval(0.0, 1.0)

    w = np.asarray([3.0, -5.0])
    np.testing.assert_allclose(Relaxed(L1Ball(), 0.5)(w), (w + w / 8) / 2)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((MaxNorm(), -0.1), ValueError, "rate must be between 0 and 1"),
        ((MaxNorm(), 2), ValueError, "rate must be between 0 and 1"),
        ((MaxNorm(), "fast"), TypeError, "rate must be a real number"),
        ((None,), TypeError, "constraint must be a Constraint"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        Relaxed(*arguments)


def test_integers_have_no_share():
    with pytest.raises(TypeError, match="real floating"):
        Relaxed(NonNeg())(np.asarray([-1, 2]))
