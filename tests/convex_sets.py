"""Convex sets, drawn at random and stated for a solver that knows nothing of this library.

The nearest point is the solution of a quadratic programme, which clarabel solves by an
interior-point method: no formula of a projection is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import clarabel
import numpy as np
from scipy import sparse

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Region:
    """The vectors x with ``offset - matrix @ x`` in a cone; x begins with the weight."""

    matrix: Any
    offset: np.ndarray
    cone: Any

    def nearest(self, w: np.ndarray) -> np.ndarray:
        """Return the x in the region that minimises half the square of its distance to w."""
        unit = float(np.abs(w).max())  # its tolerances are absolute, too
        w, offset = w.ravel() / unit, self.offset / unit
        more = np.zeros(self.matrix.shape[1] - w.size)
        square = sparse.csc_array(sparse.diags_array(np.concatenate([w**0, more])))
        data = square, np.concatenate([-w, more]), sparse.csc_array(self.matrix), offset
        for tolerance in (1e-13, 1e-12, 1e-11):  # a cone may not let it come nearest
            settings = _settings(tolerance)
            found = clarabel.DefaultSolver(*data, [self.cone(offset.size)], settings).solve()
            if found.status in _SOLVED:
                return unit * np.asarray(found.x)[: w.size]
        raise ArithmeticError(f"the solver says {found.status}")


_SOLVED = (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved)


def _settings(tolerance: float) -> Any:
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads = False, 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
    reduced = 100 * tolerance
    settings.reduced_tol_gap_abs = settings.reduced_tol_gap_rel = reduced
    settings.reduced_tol_feas = reduced
    settings.static_regularization_constant = 1e-12  # its own, 1e-8, keeps it from that
    return settings


def below(matrix: Any, offset: Any) -> Region:
    return Region(matrix, np.atleast_1d(offset).astype(float), clarabel.NonnegativeConeT)


def equal(matrix: Any, offset: Any) -> Region:
    return Region(matrix, np.atleast_1d(offset).astype(float), clarabel.ZeroConeT)


def zero_where(out: np.ndarray) -> Region:
    """Return the weights that are zero at these places."""
    rows = sparse.csr_array(np.eye(out.size)[out.ravel()])
    return equal(rows, np.zeros(rows.shape[0]))


# Arguments, drawn for a weight of some shape.


def _box(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
    low, high = np.sort(rng.normal(size=2)).tolist()
    return {"min_value": low, "max_value": high}


def _positive(name: str) -> Callable[..., Arguments]:
    return lambda rng, shape: {name: float(np.exp(rng.normal()))}


def _any(name: str) -> Callable[..., Arguments]:
    return lambda rng, shape: {name: float(rng.normal())}


def _normal_and(name: str) -> Callable[..., Arguments]:
    def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
        normal = tuple(rng.normal(size=shape).ravel().tolist())
        return {"normal": normal, name: float(rng.normal())}

    return drawn


def _mask(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
    return {"mask": (rng.random(shape) < rng.random()).tolist()}


def _triangular(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
    return {"part": str(rng.choice(["lower", "upper"])), "offset": int(rng.integers(-3, 4))}


def _banded(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
    lower, upper = rng.integers(0, 5, 2).tolist()
    return {"lower": lower, "upper": None if upper == 4 else upper}


def _increasing(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
    return {"increasing": bool(rng.integers(2))}


# Regions, of the arguments and a shape.


def _of_box(given: Arguments, shape: tuple[int, ...]) -> Region:
    eye = sparse.eye_array(shape[0])
    ends = [given["max_value"]] * shape[0] + [-given["min_value"]] * shape[0]
    return below(sparse.vstack([eye, -eye]), ends)


def _of_ball(given: Arguments, shape: tuple[int, ...]) -> Region:
    matrix = sparse.vstack([sparse.csr_array((1, shape[0])), -sparse.eye_array(shape[0])])
    offset = np.asarray([given["max_value"], *np.zeros(shape[0])])
    return Region(matrix, offset, clarabel.SecondOrderConeT)


def _of_simplex(given: Arguments, shape: tuple[int, ...]) -> Region:
    """A sum is at most the total, and at least; entries are not negative."""
    ones = np.ones((1, shape[0]))
    matrix = sparse.vstack([ones, -ones, -sparse.eye_array(shape[0])])
    return below(matrix, [given["total"], -given["total"], *np.zeros(shape[0])])


def _of_l1_ball(given: Arguments, shape: tuple[int, ...]) -> Region:
    """Magnitudes are at most further variables, which add up to the radius at most."""
    eye, n = sparse.eye_array(shape[0]), shape[0]
    sums = sparse.hstack([sparse.csr_array((1, n)), sparse.csr_array(np.ones((1, n)))])
    matrix = sparse.vstack([sums, sparse.hstack([eye, -eye]), sparse.hstack([-eye, -eye])])
    return below(matrix, [given["radius"], *np.zeros(2 * n)])


def _of_mask(given: Arguments, shape: tuple[int, ...]) -> Region:
    return zero_where(~np.broadcast_to(given["mask"], shape))


def _of_triangle(given: Arguments, shape: tuple[int, ...]) -> Region:
    i, j = np.indices(shape)
    lower = given["part"] == "lower"
    return zero_where(j - i > given["offset"] if lower else j - i < given["offset"])


def _of_band(given: Arguments, shape: tuple[int, ...]) -> Region:
    i, j = np.indices(shape)
    upper = shape[1] if given["upper"] is None else given["upper"]
    return zero_where((i - j > given["lower"]) | (j - i > upper))


def _of_order(given: Arguments, shape: tuple[int, ...]) -> Region:
    steps = np.diff(np.eye(shape[0]), axis=0)
    return below(-steps if given["increasing"] else steps, np.zeros(shape[0] - 1))


def _row(given: Arguments) -> np.ndarray:
    return np.asarray([given["normal"]])


@dataclass(frozen=True)
class ConvexSet:
    """How arguments of a set are drawn, and the region that they and a shape stand for."""

    arguments: Callable[[np.random.Generator, tuple[int, ...]], Arguments]
    region: Callable[[Arguments, tuple[int, ...]], Region]
    of_matrices: bool = False

    def draw(self, rng: np.random.Generator, most: int) -> tuple[Arguments, np.ndarray]:
        """Return arguments, and a weight of 1 to ``most`` entries."""
        n = int(np.ceil(most ** rng.random()))
        rows = int(np.ceil(n ** rng.random()))
        shape = (rows, n // rows) if self.of_matrices else (n,)
        return self.arguments(rng, shape), drawn(rng, shape)


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return a weight of entries with ties, heavy tails or neither, of any size about 1.

    No entry is 0: on the boundary of a cone the solver has half its digits.
    """
    kind = rng.integers(3)
    ties = rng.integers(-4, 4, shape) + 0.5
    found = (rng.normal(size=shape), rng.standard_t(3, shape), ties)[kind]
    return found * 2.0 ** rng.integers(-4, 5)


CONVEX = {
    "Banded": ConvexSet(_banded, _of_band, of_matrices=True),
    "Box": ConvexSet(_box, _of_box),
    "Halfspace": ConvexSet(_normal_and("bound"), lambda g, s: below(_row(g), g["bound"])),
    "Hyperplane": ConvexSet(_normal_and("value"), lambda g, s: equal(_row(g), g["value"])),
    "L1Ball": ConvexSet(_positive("radius"), _of_l1_ball),
    "Mask": ConvexSet(_mask, _of_mask, of_matrices=True),
    "MaxNorm": ConvexSet(_positive("max_value"), _of_ball),
    "Mean": ConvexSet(_any("value"), lambda g, s: equal(np.ones((1, *s)) / s, g["value"])),
    "Monotone": ConvexSet(_increasing, _of_order),
    "NonNeg": ConvexSet(lambda r, s: {}, lambda g, s: below(-np.eye(s[0]), np.zeros(s))),
    "Simplex": ConvexSet(_positive("total"), _of_simplex),
    "Sum": ConvexSet(_any("total"), lambda g, s: equal(np.ones((1, *s)), g["total"])),
    "Triangular": ConvexSet(_triangular, _of_triangle, of_matrices=True),
}
