"""The rules of the further sets against brute force, and derivatives written by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from array_constraints_conformance.catalogue import CATALOGUE, KERAS, ExactRule
from array_constraints_conformance.catalogue.affine import AffineRule
from array_constraints_conformance.catalogue.entries import inwards
from array_constraints_conformance.catalogue.monotone import MonotoneRule
from array_constraints_conformance.catalogue.standardized import StandardizedRule
from array_constraints_conformance.libraries import library
from array_constraints_conformance.numerics.exact import Slices, floats
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.runner import Plan, run
from array_constraints_conformance.trial import PROFILES
from array_constraints_conformance.trial.subject import module_subject
from array_constraints_conformance.weights.layouts import layouts_for
from faults.further.derivatives import RIGHT, WRONG, module
from hypothesis import given
from hypothesis import strategies as st

few = st.lists(st.integers(-3, 3), min_size=12, max_size=12)
rules = [r for entry in CATALOGUE.values() for r in entry.rules() if r.name not in KERAS]


def slices(*rows: list[float]) -> Slices:
    return Slices(np.asarray(rows, dtype=np.float64), (1,))


class TestExactRules:
    @pytest.mark.parametrize("name", FORMATS)
    @pytest.mark.parametrize("bound", [0.7, -0.7, 0.3, 1e-300, -1e300, 0.0, 1.0, 1e-6])
    def test_bounds_are_the_nearest_numbers_within(self, bound, name):
        fmt = FORMATS[name]
        low, high = (
            inwards(bound, math.inf, fmt.dtype)[0],
            inwards(-math.inf, bound, fmt.dtype)[1],
        )
        assert low >= bound >= high
        for x in (low, high):
            if math.isfinite(x):
                assert float(np.asarray(x).astype(fmt.dtype)) == x
        if math.isfinite(low) and math.isfinite(high):  # and none lies between them
            middle = (Fraction(low) + Fraction(high)) / 2
            assert float(np.asarray(float(middle)).astype(fmt.dtype)) in (low, high)

    @given(entries=few)
    def test_of_each_group_no_choice_of_entries_is_nearer(self, entries):
        for n, m in ((1, 2), (2, 4), (2, 3)):
            rule = CATALOGUE["NMSparse"].with_arguments({"n": n, "m": m, "axis": 1})
            w = np.asarray(entries, dtype=np.float64).reshape(1, 12)
            image = rule.image(w)
            for group, found in zip(w.reshape(-1, m), image.reshape(-1, m), strict=True):
                every = [
                    np.where(np.isin(np.arange(m), kept), group, 0)
                    for kept in combinations(range(m), n)  # the first ones first
                ]
                best = min(every, key=lambda z: float(np.sum((group - z) ** 2)))
                assert np.sum((group - found) ** 2) == np.sum((group - best) ** 2)
                first = next(z for z in every if (z == best).all())
                ties = [
                    z for z in every if np.sum((group - z) ** 2) == np.sum((group - best) ** 2)
                ]
                assert (first == ties[0]).all()
                assert (found == ties[0]).all()
            np.testing.assert_array_equal(rule.away(w), np.abs(w - image))

    def test_patterns_by_hand(self):
        w = np.arange(1.0, 10.0).reshape(3, 3)
        for rule, expected in (
            ({"part": "lower"}, [[1, 0, 0], [4, 5, 0], [7, 8, 9]]),
            ({"part": "upper", "offset": 1}, [[0, 2, 3], [0, 0, 6], [0, 0, 0]]),
            ({"part": "lower", "axis": (-1, -2)}, [[1, 2, 3], [0, 5, 6], [0, 0, 9]]),
        ):
            found = CATALOGUE["Triangular"].with_arguments(rule).image(w)
            np.testing.assert_array_equal(found, expected)
        for rule, expected in (
            ({}, [[1, 0, 0], [0, 5, 0], [0, 0, 9]]),
            ({"lower": 1}, [[1, 0, 0], [4, 5, 0], [0, 8, 9]]),
            ({"lower": None, "upper": 1}, [[1, 2, 0], [4, 5, 6], [7, 8, 9]]),
        ):
            found = CATALOGUE["Banded"].with_arguments(rule).image(w)
            np.testing.assert_array_equal(found, expected)
        mask = CATALOGUE["Mask"].with_arguments({"mask": "gA==", "shape": [2, 1]})
        assert mask.placed((2, 2)).arguments["mask"] == [[True, False], [True, False]]

    @pytest.mark.parametrize("rule", [r for r in rules if isinstance(r, ExactRule)], ids=str)
    def test_nearest_points_are_their_own_and_have_no_violation(self, rule):
        for layout in layouts_for([rule], quick=False):
            shape = layout.shape(8)
            placed = rule.along(layout.axis).placed(shape)
            if not placed.suits(shape):
                continue
            w = np.random.default_rng(0).standard_normal(shape)
            image = placed.image(w)
            np.testing.assert_array_equal(placed.image(image), image)
            assert not placed.away(image).any()
            moved = image != w
            if rule.by_entry:
                assert ((placed.away(w) != 0) == moved).all()
            else:
                count = moved.sum(axis=placed.axes(w.ndim), keepdims=True)
                np.testing.assert_array_equal(placed.away(w), count)
            rows = placed.slices(w)
            np.testing.assert_array_equal(placed.arranged(rows.rows, shape), w)


class TestAffineRules:
    @pytest.mark.parametrize("rule", [r for r in rules if isinstance(r, AffineRule)], ids=str)
    @given(entries=st.lists(st.floats(-4, 4), min_size=2, max_size=2))
    def test_no_allowed_point_is_nearer_than_the_nearest(self, rule, entries):
        """Search the line, or the half of the plane: none of 4,000 points is nearer."""
        rule, found = rule.placed((2,)).along(0).placed((2,)), slices(entries)
        w, a = np.asarray(entries), rule.coefficients(2)
        bound = float(rule.bound(2))
        nearest = np.asarray(floats(rule.nearest(found, 0)))
        over = float(a @ w) - bound
        if not rule.equality and over <= 0:
            np.testing.assert_array_equal(nearest, w)
            return
        assert a @ nearest == pytest.approx(bound, abs=1e-12)
        along = np.asarray([-a[1], a[0]]) / np.linalg.norm(a)
        line = bound * a / (a @ a) + np.linspace(-10, 10, 4001)[:, None] * along
        best = np.min(np.linalg.norm(line - w, axis=1))
        assert np.linalg.norm(nearest - w) <= best + 1e-12
        assert best <= np.linalg.norm(nearest - w) + 0.01
        unit = 2 if rule.mean else 1
        assert float(rule.distance(found, 0)) == pytest.approx(abs(over) / unit, abs=1e-12)

    @given(entries=st.lists(st.floats(-4, 4), min_size=1, max_size=6))
    def test_sums_are_those_of_rational_numbers(self, entries):
        exact, n = [Fraction(x) for x in entries], len(entries)
        mean = CATALOGUE["Mean"].with_arguments({"value": 0.25})
        total = CATALOGUE["Sum"].with_arguments({"total": 0.25})
        assert total.value(slices(entries), 0) == sum(exact)
        assert total.mass(slices(entries), 0) == sum(map(abs, exact))
        assert mean.distance(slices(entries), 0) == abs(sum(exact) / n - Fraction(1, 4))
        assert total.satisfies(slices(entries))[0] == (sum(exact) == Fraction(1, 4))

    def test_the_slack_is_that_of_the_specification(self):
        fmt, rule = FORMATS["float32"], CATALOGUE["Sum"].with_arguments({"total": 1.0})
        w = slices([3.0, -1.0, 2.0])
        slack = rule.slack(w, w, 0, fmt, fmt.underflow(3))
        entries = Fraction(101, 100) * 6 / 2**24 + Fraction(2 + 8, 2**53) * 7
        assert entries < slack <= entries + 4 * fmt.u * Fraction(fmt.smallest)


class TestTheStandardizedRule:
    rule = StandardizedRule("Standardized", {"axis": 0}, 0)

    @given(entries=st.lists(st.integers(-9, 9), min_size=3, max_size=3))
    def test_no_allowed_point_is_nearer_than_the_nearest(self, entries):
        """Search the circle of mean 0 and root mean square 1 in space."""
        if len(set(entries)) == 1:
            assert self.rule.undirected(slices(entries))[0]
            return
        w = np.asarray(entries, dtype=float)
        nearest = np.asarray(floats(self.rule.nearest(slices(entries), 0)))
        assert np.mean(nearest) == pytest.approx(0, abs=1e-14)
        assert np.mean(nearest**2) == pytest.approx(1, rel=1e-14)
        u, v = np.asarray([1, -1, 0]) / math.sqrt(2), np.asarray([1, 1, -2]) / math.sqrt(6)
        angles = np.linspace(0, 2 * math.pi, 4000)[:, None]
        circle = math.sqrt(3) * (np.cos(angles) * u + np.sin(angles) * v)
        best = np.min(np.linalg.norm(circle - w, axis=1))
        assert np.linalg.norm(nearest - w) <= best + 1e-12
        found = max(abs(np.mean(w)), abs(np.std(w) - 1))
        assert float(self.rule.distance(slices(entries), 0)) == pytest.approx(found, abs=1e-12)


class TestTheMonotoneRule:
    @pytest.mark.parametrize("increasing", [True, False])
    @given(entries=st.lists(st.integers(-4, 4), min_size=1, max_size=7))
    def test_nearest_points_are_those_of_the_formula(self, increasing, entries):
        """The largest of the smallest means of what begins before an entry and ends behind."""
        rule = MonotoneRule("Monotone", {}, 1, increasing)
        exact = [Fraction(x) for x in (entries if increasing else entries[::-1])]
        n = len(exact)

        def mean(i: int, j: int) -> Fraction:
            return sum(exact[i : j + 1], Fraction(0)) / (j + 1 - i)

        expected = [
            max(min(mean(i, j) for j in range(k, n)) for i in range(k + 1)) for k in range(n)
        ]
        expected = expected if increasing else expected[::-1]
        w = slices(entries)
        assert floats(rule.nearest(w, 0)) == list(map(float, expected))
        falls = [exact[i] - exact[j] for j in range(n) for i in range(j + 1)]
        assert rule.distance(w, 0) == max(falls)
        assert rule.in_order(w.values)[0] == (rule.distance(w, 0) == 0)
        assert rule.in_order(slices(list(map(float, expected))).values)[0]


@pytest.mark.parametrize(
    "rule", [r for r in rules if r.name not in ("Chain", "Blocks")], ids=str
)  # of which none is stated
def test_derivatives_are_those_of_the_nearest_points(rule):
    """Differences of nearest points, about a point at which no entry changes its lot."""
    w, step = np.asarray([0.31, -1.2, 0.5, 2.03]), 2.0**-20
    shape = next((s for s in ((4,), (2, 2)) if rule.along(0).suits(s)), None)
    if shape is None:
        return
    placed = rule.along(0).placed(shape)
    expected = placed.jacobian(w.reshape(shape))

    def image(values: np.ndarray) -> np.ndarray:
        array = values.reshape(shape)
        if isinstance(placed, ExactRule):
            return placed.image(array).ravel()
        return np.asarray(floats(placed.nearest(placed.slices(array), 0)))

    columns = [(image(w + step * e) - image(w - step * e)) / (2 * step) for e in np.eye(4)]
    assert expected is not None
    np.testing.assert_allclose(expected, np.stack(columns, axis=1), atol=1e-9)


@pytest.mark.parametrize("rule", rules, ids=str)
def test_hard_slices_are_of_the_length_asked_for(rule):
    for fmt, n in product(FORMATS.values(), (1, 4, 12)):
        for kind in rule.kinds(fmt):
            assert kind(np.random.default_rng(0), n).shape == (n,)


class TestAModule:
    def test_is_judged_by_the_sets_that_it_has(self):
        class Module:
            MaxNorm = Box = Sum = staticmethod(abs)

        assert set(module_subject(Module, "some").definitions) == {*KERAS, "Box", "Sum"}


class TestDerivativesOnPyTorch:
    """Functions alone, which are judged by their derivatives and by nothing else."""

    @staticmethod
    def judged(name, function, defaults):
        pytest.importorskip("torch")
        subject = module_subject(module(name, function, **defaults), "further")
        only = [f"GRAD-{i}" for i in range(1, 7)]
        plan = Plan(
            subject, [library("torch")], PROFILES["quick"], constraints=(name,), only=only
        )
        return {result.requirement.id: result.outcome for result in run(plan)}

    @pytest.mark.parametrize("name", RIGHT)
    def test_right_ones_are_accepted(self, name):
        found = self.judged(name, *RIGHT[name])
        assert set(found.values()) <= {"met", "not applicable"}
        assert found["GRAD-6"] == "met"

    @pytest.mark.parametrize(
        ("breaks", "name", "function", "defaults"),
        WRONG,
        ids=lambda x: getattr(x, "__name__", x),
    )
    def test_a_fault_is_found(self, breaks, name, function, defaults):
        assert self.judged(name, function, defaults)[breaks] == "not met"
