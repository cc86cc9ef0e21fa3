"""The decks place the hard cases, in every layout and dtype, whatever the seed."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from array_constraints_conformance.catalogue import CATALOGUE
from array_constraints_conformance.libraries import library
from array_constraints_conformance.numerics.axes import normalized
from array_constraints_conformance.numerics.exact import Slices, root
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.runner import Plan, run
from array_constraints_conformance.trial import PROFILES
from array_constraints_conformance.trial.subject import single
from array_constraints_conformance.weights.case import Case
from array_constraints_conformance.weights.decks import deck
from array_constraints_conformance.weights.draws import fitting, weights
from array_constraints_conformance.weights.layouts import LAYOUTS
from hypothesis import given
from hypothesis import strategies as st

RULE = CATALOGUE["MinMaxNorm"].rules()[0]
several = [layout for layout in LAYOUTS if layout.axis is not None and layout.name != "vector"]
quick = [layout for layout in several if layout.quick]


def slices(layout, fmt, seed=0) -> Slices:
    (case,) = deck(layout, RULE, fmt, seed)
    return Slices(case.w, case.rule.axes(case.w.ndim))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("fmt", FORMATS.values(), ids=list(FORMATS))
@pytest.mark.parametrize("layout", quick, ids=lambda layout: layout.name)
class TestADeckHolds:
    def test_slices_on_inside_and_outside_of_each_bound(self, layout, fmt, seed):
        found, u = slices(layout, fmt, seed), fmt.u
        norms = [root(q) for q, ok in zip(found.squares, found.finite, strict=True) if ok]
        for bound in map(Fraction, RULE.bounds):
            offsets = [(norm / bound - 1) / u for norm in norms]
            assert any(-7 <= x < 0 for x in offsets)
            assert any(0 <= x <= 7 for x in offsets)
            beyond = fmt.band(found.length) / u
            assert any(beyond < x <= beyond + 8 for x in offsets)
            assert any(-beyond - 8 <= x < -beyond for x in offsets)

    def test_the_ends_of_the_exponent_range(self, layout, fmt, seed):
        found = slices(layout, fmt, seed)
        peaks = found.peak[found.finite]
        assert (peaks >= fmt.largest / math.sqrt(found.length) / 4).any()
        assert (peaks == fmt.smallest).any()
        assert ((peaks > 0) & (peaks < fmt.smallest)).any()
        assert (peaks == 2 * fmt.smallest * float(fmt.u)).any()

    def test_zeros_of_both_signs_and_what_is_not_finite(self, layout, fmt, seed):
        found = slices(layout, fmt, seed)
        zero = (found.values == 0) & np.signbit(found.values)
        assert zero.any()
        assert (found.peak == 0).sum() >= 2
        assert np.isnan(found.values).any()
        assert (found.values == np.inf).any()
        assert (found.values == -np.inf).any()

    def test_equal_entries_and_single_ones(self, layout, fmt, seed):
        found = slices(layout, fmt, seed)
        values = found.values[found.finite & (found.peak > 0)]
        assert (values == values[:, :1]).all(axis=1).any()
        assert ((values != 0).sum(axis=1) == 1).any()


def test_the_layouts_have_every_form_of_axis_and_awkward_lengths():
    axes = [layout.axis for layout in LAYOUTS]
    assert any(axis is None for axis in axes)
    assert any(isinstance(axis, int) and axis < 0 for axis in axes)
    assert any(isinstance(axis, list) for axis in axes)
    counted = [[i % 3 for i in axis] for axis in axes if isinstance(axis, tuple)]
    assert any(axis != sorted(axis) for axis in counted)
    lengths = {layout.length(50) for layout in LAYOUTS}
    assert {1, 2, 3, 5, 63, 64, 1000} <= lengths
    assert any(1 in layout.shape(50)[1:] for layout in LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_an_array_of_slices_has_these_slices(layout):
    n, count = layout.length(4), 4
    rows = [np.arange(n) + 100.0 * i for i in range(count)]
    w = layout.array(rows)
    assert w.flags.c_contiguous
    found = Slices(w, normalized(layout.axis, w.ndim)).rows
    for i, row in enumerate(found):
        np.testing.assert_array_equal(row, rows[i % count])


@given(data=st.data())
def test_drawn_weights_are_small_and_of_a_format_asked_for(data):
    formats = [FORMATS["float16"], FORMATS["float64"]]
    source = fitting(CATALOGUE["MaxNorm"].rules(), formats)
    case = data.draw(weights(source))
    assert isinstance(case, Case)
    assert case.w.shape == (2, 3)
    assert case.w.dtype.name in ("float16", "float64")


def test_the_key_of_a_case_tells_bits_rules_and_dtypes_apart():
    w = np.zeros((2, 2), np.float32)
    keys = {
        Case(w, RULE).key,
        Case(-w, RULE).key,
        Case(w.astype("float64"), RULE).key,
        Case(w, RULE.along(1)).key,
        Case(w.reshape(4), RULE).key,
    }
    assert len(keys) == 5


def test_a_weight_that_breaks_a_law_is_made_small_if_that_is_asked_for():
    calls = []

    def unchanged(w):
        calls.append(w)
        return w

    def judged(shrinks):
        calls.clear()
        subject = single(unchanged, contains=lambda w, tolerance: (abs(w) <= 1).all(), axis=0)
        profile = replace(PROFILES["quick"], shrinks=shrinks)
        (result,) = run(Plan(subject, [library("numpy")], profile, only=["SET-1"]))
        assert result.outcome == "not met"
        return result.counterexample.input, len(calls)

    small, many = judged(shrinks=True)
    _, few = judged(shrinks=False)
    assert np.count_nonzero(ast.literal_eval(small)) == 1
    assert few < many / 2
