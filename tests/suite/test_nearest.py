"""The nearest points that the suite knows are those of a solver that knows no formula."""

from __future__ import annotations

import numpy as np
import pytest
from array_constraints_conformance.catalogue import CATALOGUE
from array_constraints_conformance.catalogue.rule import KnownRule
from array_constraints_conformance.numerics.exact import floats
from convex_sets import CONVEX


def nearest(rule: KnownRule, w: np.ndarray) -> np.ndarray:
    slices = rule.slices(w)
    rows = [floats(rule.nearest(slices, i)) for i in range(len(slices))]
    return rule.arranged(np.asarray(rows), w.shape)


def test_none_is_left_out():
    convex = {
        name for name, known in CATALOGUE.items() if "convex sets" in known.rules()[0].traits
    }
    made_of_others = {"Blocks", "Chain"}
    assert convex - made_of_others <= CONVEX.keys()


@pytest.mark.parametrize("name", sorted(CONVEX.keys() & CATALOGUE.keys()))
def test_they_are_those_of_a_quadratic_programme(name):
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(100):
        given, w = CONVEX[name].draw(rng, 24)
        rule = CATALOGUE[name].with_arguments(given).placed(w.shape)
        expected = CONVEX[name].region(rule.arguments, w.shape).nearest(w).reshape(w.shape)
        bounds = [abs(value) for value in given.values() if isinstance(value, float)]
        unit = max(float(np.abs(w).max()), *bounds, 0.0)
        np.testing.assert_allclose(nearest(rule, w), expected, rtol=0, atol=1e-6 * unit)
