"""The oracles against brute force: rational arithmetic, and a search of the allowed set."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from array_constraints_conformance.catalogue import CATALOGUE, NormRule
from array_constraints_conformance.numerics.bits import relative
from array_constraints_conformance.numerics.exact import (
    Slices,
    difference,
    floats,
    product,
    root,
    scaled,
    vector,
)
from array_constraints_conformance.numerics.formats import FORMATS
from hypothesis import given
from hypothesis import strategies as st

finite = st.floats(allow_nan=False, allow_infinity=False)
rows = st.lists(finite, min_size=1, max_size=5)
pairs = st.integers(1, 5).flatmap(
    lambda n: st.tuples(*(st.lists(finite, min_size=n, max_size=n) for _ in range(2)))
)


@given(pair=pairs)
def test_products_are_those_of_rational_numbers(pair):
    a, b = ([Fraction(x) for x in row] for row in pair)
    u, v = (vector(np.asarray(row)) for row in pair)
    assert product(u, v) == sum(x * y for x, y in zip(a, b, strict=True))
    step = difference(u, v)
    assert product(step, step) == sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


@given(
    square=st.fractions(min_value=0)
    | st.builds(
        lambda m, e: Fraction(m) * Fraction(2) ** e,
        st.integers(0, 2**60),
        st.integers(-2100, 2100),
    )
)
def test_roots_are_rounded_down_and_exact_to_190_bits(square):
    found = root(square)
    assert found**2 <= square
    assert square <= (found * (1 + Fraction(1, 1 << 190))) ** 2


@given(row=rows, numerator=st.integers(1, 10**30), denominator=st.integers(1, 10**30))
def test_scaled_vectors_are_exact_to_200_bits(row, numerator, denominator):
    factor = Fraction(numerator, denominator)
    exact = [Fraction(x) * factor for x in row]
    found = scaled(vector(np.asarray(row)), factor)
    largest = max(map(abs, exact))
    for x, y in zip(exact, found.integers, strict=True):
        assert abs(x - y * Fraction(2) ** found.exponent) <= largest * Fraction(1, 1 << 200)


@pytest.mark.parametrize("name", FORMATS)
def test_every_bit_pattern_of_a_format_is_read_exactly(name):
    fmt = FORMATS[name]
    size = fmt.dtype.itemsize
    words = np.random.default_rng(0).integers(0, 2 ** (8 * size), 2000, dtype=f"u{size}")
    values = words.view(fmt.dtype)
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = values[np.isfinite(values.astype(np.float64))]
    slices = Slices(values.reshape(1, -1), (0,))
    for i, value in enumerate(values):
        assert slices.square(i) == Fraction(float(value)) ** 2


def test_slices_run_along_their_axes():
    w = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(Slices(w, (0, 2)).rows[1], w[:, 1].ravel())
    np.testing.assert_array_equal(Slices(w, (1,)).rows[5], w[1, :, 1])
    assert Slices(w, ()).rows.shape == (24, 1)


def test_distances_by_hand():
    a = Slices(np.asarray([[3.0], [4.0]]), (0,))
    b = Slices(np.asarray([[0.0], [2.0]]), (0,))
    assert a.distance(0, b) ** 2 <= 13 < (a.distance(0, b) + Fraction(1, 10**30)) ** 2
    assert a.distance(0, b, Fraction(2)) == 3


norm_rules = [
    rule
    for entry in CATALOGUE.values()
    for rule in entry.rules()
    if isinstance(rule, NormRule) and rule.upper < math.inf and rule.name != "Chain"
]


def size_of(rule: NormRule, points: np.ndarray) -> np.ndarray:
    """Return the sizes of points of a plane, by NumPy's norms."""
    norms = np.linalg.norm(points, ord=None if rule.order == 2 else rule.order, axis=-1)
    return norms / math.sqrt(2) if rule.unit == "rms" else norms


@pytest.mark.parametrize("rule", norm_rules, ids=str)
@given(angle=st.floats(0, 2 * math.pi), norm=st.floats(0.01, 10))
def test_no_allowed_point_is_nearer_than_the_nearest(rule, angle, norm):
    """Search the plane: the nearest of 20,000 allowed points is no nearer than the oracle's."""
    w = np.asarray([norm * math.cos(angle), norm * math.sin(angle)])
    slices = Slices(w.reshape(1, 2), (1,))
    size = float(size_of(rule, w))
    clipped = min(max(size, rule.lower), rule.upper)
    if rule.rate != 1:
        expected = rule.norm_after(root(slices.square(0)))
        assert float(expected) == pytest.approx((1 - rule.rate) * norm + rule.rate * clipped)
        return
    nearest = w * float(rule.scale(slices, 0))
    assert floats(rule.nearest(slices, 0)) == pytest.approx(nearest, abs=1e-15)
    assert size_of(rule, nearest) == pytest.approx(clipped, rel=1e-14)
    assert float(rule.distance(slices, 0)) == pytest.approx(abs(size - clipped), abs=1e-12)
    if rule.order != 2:
        return  # the rescaled point, not the nearest
    unit = math.sqrt(2) if rule.unit == "rms" else 1.0
    radii, angles = np.meshgrid(
        np.linspace(rule.lower, rule.upper, 50) * unit, np.linspace(0, 2 * math.pi, 400)
    )
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1)
    best = np.min(np.linalg.norm(points - w, axis=-1))
    found = np.linalg.norm(nearest - w)
    assert found <= best + 1e-12
    assert best <= found + 0.05 * rule.upper * unit


@pytest.mark.parametrize("rule", norm_rules, ids=str)
@given(entries=st.lists(st.floats(-2, 2), min_size=1, max_size=4))
def test_membership_is_that_of_rational_numbers(rule, entries):
    exact = [Fraction(x) for x in entries]
    square = {
        2: sum(x * x for x in exact),
        1: sum(map(abs, exact)) ** 2,
        math.inf: max(map(abs, exact)) ** 2,
    }[rule.order]
    unit = len(entries) if rule.unit == "rms" else 1
    slices = Slices(np.asarray([entries]), (1,))
    for slack in (Fraction(0), Fraction(1, 100), Fraction(-1, 100)):
        low, high = Fraction(rule.lower) * (1 - slack), Fraction(rule.upper) * (1 + slack)
        assert rule.holds(slices, slack)[0] == (low**2 * unit <= square <= high**2 * unit)


def test_the_tolerances_are_those_of_the_specification():
    single, half = FORMATS["float32"], FORMATS["bfloat16"]
    for n, log in ((1, 0), (2, 1), (3, 2), (64, 6), (65, 7), (2**20, 20)):
        assert single.band(n) == (Fraction(log, 2) + Fraction(3, 2)) * Fraction(1, 2**24)
        assert single.tolerance(n) == (8 + Fraction(3, 2) * log) * Fraction(1, 2**24)
        assert single.depth(n) == (12 + Fraction(3, 2) * log) * Fraction(1, 2**24)
        assert half.tolerance(n) == half.depth(n) == Fraction(205, 100) / 2**8
    for fmt in FORMATS.values():
        import ml_dtypes

        info = ml_dtypes.finfo(fmt.dtype)
        assert float(fmt.u) == float(info.eps) / 2
        assert fmt.smallest == float(info.smallest_normal)


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (Fraction(1, 3), "0.333333"),
        (Fraction(-5 * 10**400), "-5.00000e+400"),
        (Fraction(2, 3) * 10**400, "6.66667e+399"),
        (Fraction(1, 10**400), "0"),
    ],
)
def test_numbers_beyond_float64_are_shown(x, shown):
    assert relative(x) == shown
