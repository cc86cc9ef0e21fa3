"""No point of a set that is not convex is nearer than the one that is returned."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from points_of_sets import NOT_CONVEX, NotConvex
from scipy.optimize import minimize

from array_constraints.config.built_in import BUILT_IN

DRAWS, MOST, POINTS = 1000, 200, 64


def distance(x: np.ndarray, w: np.ndarray) -> float:
    return math.sqrt(math.fsum((x - w) ** 2))


def draws(name: str, count: int, most: int):
    """Yield arguments, weights that have a direction, and what becomes of them."""
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(count):
        given, w = NOT_CONVEX[name].draw(rng, most)
        if name == "Standardized" and (w == w[0]).all():
            w[0] *= 2
        yield rng, given, w, BUILT_IN[name](**given)(w)


@pytest.mark.parametrize("name", NOT_CONVEX)
def test_it_belongs_to_the_set(name):
    for _, given, _, found in draws(name, DRAWS, MOST):
        if name == "NMSparse":
            kept = np.count_nonzero(found.reshape(-1, given["m"]), axis=1)
            assert (kept <= given["n"]).all()
        elif name == "Sparse":
            assert np.count_nonzero(found) <= given["k"]
        else:
            again = NOT_CONVEX[name].points(given, found[None])[0]
            np.testing.assert_allclose(found, again, rtol=0, atol=1e-14 * np.abs(again).max())


@pytest.mark.parametrize("name", NOT_CONVEX)
def test_no_point_of_a_sample_is_nearer(name):
    """Of points anywhere, and beside the one that is returned."""
    for rng, given, w, found in draws(name, DRAWS, MOST):
        noise = rng.normal(size=(POINTS, w.size))
        steps = np.repeat(10.0 ** -np.arange(4), POINTS // 4)[:, None]
        rows = np.concatenate([noise, w + noise, found + steps * noise, np.tile(w, (16, 1))])
        points = NOT_CONVEX[name].points(given, rows)
        nearest = np.sqrt(np.sum((points - w) ** 2, axis=1).min())
        allowed = 1e-12 * (np.abs(w).max() + np.abs(found).max()) * math.sqrt(w.size)
        assert distance(found, w) <= nearest + allowed, f"{name}(**{given})({w.tolist()})"


def test_no_choice_of_entries_is_nearer_in_any_group():
    for _, given, w, found in draws("NMSparse", DRAWS, MOST):
        groups, kept = (x.reshape(-1, given["m"]) for x in (w, found))
        assert ((kept == groups) | (kept == 0)).all()
        choices = list(itertools.combinations(range(given["m"]), given["n"]))
        most = np.max([np.sum(groups[:, choice] ** 2, axis=1) for choice in choices], axis=0)
        np.testing.assert_allclose(np.sum(kept**2, axis=1), most, rtol=1e-14)


def test_no_choice_of_as_many_entries_is_nearer():
    for _, given, w, found in draws("Sparse", DRAWS, MOST):
        assert ((found == w) | (found == 0)).all()
        most = np.sum(np.sort(w**2)[::-1][: given["k"]])
        np.testing.assert_allclose(np.sum(found**2), most, rtol=1e-13)


WITH_EQUATIONS = [name for name, each in NOT_CONVEX.items() if each.equations]


@pytest.mark.parametrize("name", WITH_EQUATIONS)
def test_no_point_that_a_local_solver_finds_is_nearer(name):
    nearest = []
    for rng, given, w, found in draws(name, 60, 10):
        own = distance(found, w)
        unit = np.abs(w).max() + np.abs(found).max()
        solved = [local(NOT_CONVEX[name], given, w, rng) for _ in range(2)]
        apart = [distance(x, w) for x in solved if x is not None]
        assert all(own <= other + 1e-7 * unit for other in apart)
        nearest.append(min(apart, default=math.inf) <= own + 1e-6 * unit)
    assert sum(nearest) >= 54  # the solver does find what it is compared with


def local(chosen: NotConvex, given, w: np.ndarray, rng: np.random.Generator):
    """Return where sequential quadratic programmes lead from a point of the set, or None."""
    assert chosen.equations is not None
    start = chosen.points(given, rng.normal(size=(1, w.size)))[0]
    done = minimize(
        lambda x: (x - w) @ (x - w) / 2,
        start,
        jac=lambda x: x - w,
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda x: chosen.equations(given, x)},
        options={"ftol": 1e-15, "maxiter": 300},
    )
    feasible = max(map(abs, chosen.equations(given, done.x))) <= 1e-9
    return done.x if feasible else None
