"""Nearest points of convex sets beside a solver's, and beside rational numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from convex_sets import CONVEX, Arguments
from exact_nearest import EXACT, U, rationals
from points_of_sets import NOT_CONVEX

from array_constraints.config.built_in import BUILT_IN

DRAWS, MOST = 1000, 200
HERE = sorted(CONVEX.keys() & BUILT_IN.keys())
NO_SET_OF_ITS_OWN = {
    "Constraint",
    "RadialConstraint",  # copies entries: not to the nearest point
    *("Blocks", "Chain", "Relaxed"),  # made of others
}


def test_every_set_is_compared():
    compared = CONVEX.keys() | NOT_CONVEX.keys() | NO_SET_OF_ITS_OWN
    assert not BUILT_IN.keys() - compared, "to be stated in convex_sets.py or points_of_sets.py"
    assert EXACT.keys() <= CONVEX.keys()


def draws(name: str):
    """Yield arguments of a set, weights, and what the set makes of them."""
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(DRAWS):
        given, w = CONVEX[name].draw(rng, MOST)
        found = BUILT_IN[name](**given)(w)
        assert found.shape == w.shape
        yield given, w, found


def size_of(given: Arguments, w: np.ndarray) -> float:
    """Return the largest number of a weight and of its bounds."""
    bounds = [abs(value) for value in given.values() if isinstance(value, float)]
    return max(float(np.abs(w).max()), *bounds, 0.0)


@pytest.mark.parametrize("name", HERE)
def test_it_is_the_solution_of_a_quadratic_programme(name):
    moved = 0
    for given, w, found in draws(name):
        expected = CONVEX[name].region(given, w.shape).nearest(w).reshape(w.shape)
        apart = np.abs(found - expected).max()
        assert apart <= 1e-6 * size_of(given, w), f"{name}(**{given})({w.tolist()})"
        moved += bool((found != w).any())
    assert moved >= DRAWS / 4  # it was not the identity that was compared


def roundoffs(name: str, n: int) -> float:
    """Return how many roundoffs an entry may be off."""
    exact = {"Box": 0, "L1Ball": 6, "MaxNorm": 12 + 1.5 * math.ceil(math.log2(n))}
    return exact.get(name, 2)


@pytest.mark.parametrize("name", sorted(EXACT.keys() & BUILT_IN.keys()))
def test_it_is_that_of_rational_numbers_but_for_a_few_roundoffs(name):
    for given, w, found in draws(name):
        exact, share = EXACT[name](given, w)
        most = Fraction(roundoffs(name, w.size)) * U
        for x, y in zip(rationals(found), exact, strict=True):
            off = abs(x - y)
            assert off <= most * (abs(y) + share), f"{name}(**{given})({w.tolist()})"
