"""Sets that are not convex, drawn at random, and points of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from convex_sets import Arguments, drawn


def directions(v: np.ndarray) -> np.ndarray:
    """Return vectors of norm 1 along these rows."""
    return v / np.sqrt(np.sum(v * v, axis=-1, keepdims=True))


def on_sphere(given: Arguments, v: np.ndarray) -> np.ndarray:
    """Return the points of the sphere in the directions of these rows."""
    rms = given.get("unit") == "rms"
    radius = given.get("radius", 1.0) * (np.sqrt(v.shape[-1]) if rms else 1)
    return radius * directions(v)


def in_shell(given: Arguments, v: np.ndarray) -> np.ndarray:
    """Return points between both bounds, each as far as its row is if it is between them."""
    norm = np.sqrt(np.sum(v * v, axis=-1, keepdims=True))
    return directions(v) * np.clip(norm, given["min_value"], given["max_value"])


def standardized(given: Arguments, v: np.ndarray) -> np.ndarray:
    """Return points of mean 0 and root mean square 1."""
    centred = v - np.mean(v, axis=-1, keepdims=True)
    return np.sqrt(v.shape[-1]) * directions(centred)


def sparse(given: Arguments, v: np.ndarray) -> np.ndarray:
    """Return these rows with zeros everywhere but in the places of one choice of each group."""
    n, m = given["n"], given["m"]
    choices = np.asarray(list(itertools.combinations(range(m), n)))
    rows, groups = len(v), v.shape[-1] // m
    chosen = np.arange(rows * groups).reshape(rows, groups) % len(choices)
    kept = np.zeros((rows, groups, m), dtype=bool)
    np.put_along_axis(kept, choices[chosen], True, axis=-1)
    return np.where(kept.reshape(v.shape), v, 0.0)


def of_few(given: Arguments, v: np.ndarray) -> np.ndarray:
    """Return these rows with zeros but in as many places as are allowed."""
    n = v.shape[-1]
    places = (np.arange(n) + np.arange(len(v))[:, None]) % n
    return np.where(places < given["k"], v, 0.0)


@dataclass(frozen=True)
class NotConvex:
    """How arguments are drawn, and points of the set are made of any rows.

    ``equations``: the numbers that are 0 for a point of the set, as a local solver takes them.
    """

    arguments: Callable[[np.random.Generator], Arguments]
    points: Callable[[Arguments, np.ndarray], np.ndarray]
    equations: Callable[[Arguments, np.ndarray], list[float]] | None = None

    def draw(self, rng: np.random.Generator, most: int) -> tuple[Arguments, np.ndarray]:
        """Return arguments, and a weight of 2 to ``most`` entries."""
        given = self.arguments(rng)
        n = max(2, int(np.ceil(most ** rng.random())))
        m = given.get("m", 1)
        return given, drawn(rng, (max(n // m, 1) * m,))


def _shell(rng: np.random.Generator) -> Arguments:
    low, high = np.sort(np.exp(rng.normal(size=2))).tolist()
    return {"min_value": low, "max_value": high}


def _sphere(rng: np.random.Generator) -> Arguments:
    return {"radius": float(np.exp(rng.normal())), "unit": str(rng.choice(["norm", "rms"]))}


def _groups(rng: np.random.Generator) -> Arguments:
    m = int(rng.integers(2, 7))
    return {"n": int(rng.integers(1, m)), "m": m}


def _off_sphere(given: Arguments, x: np.ndarray) -> list[float]:
    n = x.size if given.get("unit") == "rms" else 1
    return [x @ x / n - given.get("radius", 1.0) ** 2]


NOT_CONVEX = {
    "MinMaxNorm": NotConvex(_shell, in_shell),
    "NMSparse": NotConvex(_groups, sparse),
    "Sparse": NotConvex(lambda rng: {"k": int(rng.integers(1, 9))}, of_few),
    "Sphere": NotConvex(_sphere, on_sphere, _off_sphere),
    "Standardized": NotConvex(
        lambda rng: {}, standardized, lambda g, x: [x.mean(), x @ x / x.size - 1]
    ),
    "UnitNorm": NotConvex(lambda rng: {}, on_sphere, _off_sphere),
}
