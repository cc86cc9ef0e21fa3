"""Weights whose slices sit where rescaling is hard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from libraries import DTYPES

# Few shapes, because JAX compiles for each; the sliced lengths are 1, 3, 5, 8, 15, 64, 33.
SHAPES_AND_AXES: list[tuple[tuple[int, ...], int | tuple[int, ...] | None]] = [
    ((1, 6), 0),
    ((3, 7), 0),
    ((5, 8), -1),
    ((64, 6), 0),
    ((3, 5, 4), (0, 1)),
    ((4, 33, 2), [1]),
    ((15,), None),
    ((3, 4, 5), (-1, 0)),
]

Slice = Callable[[np.random.Generator, int, float, np.finfo], np.ndarray]


def _random(rng: np.random.Generator, n: int, bound: float, info: np.finfo) -> np.ndarray:
    return rng.standard_normal(n)


def _equal(rng: np.random.Generator, n: int, bound: float, info: np.finfo) -> np.ndarray:
    return np.full(n, rng.uniform(0.01, 3))


def _any_magnitude(
    rng: np.random.Generator, n: int, bound: float, info: np.finfo
) -> np.ndarray:
    exponent = rng.uniform(info.minexp - info.nmant, info.maxexp - 2)
    return np.clip(rng.standard_normal(n), -3, 3) * 2.0**exponent


def _largest(rng: np.random.Generator, n: int, bound: float, info: np.finfo) -> np.ndarray:
    return rng.choice([-1.0, 1.0], n) * float(info.max)


def _near_the_bound(
    rng: np.random.Generator, n: int, bound: float, info: np.finfo
) -> np.ndarray:
    v = rng.standard_normal(n)
    return v / np.linalg.norm(v) * bound * (1 + rng.integers(-3, 4) * float(info.eps))


def _zero(rng: np.random.Generator, n: int, bound: float, info: np.finfo) -> np.ndarray:
    return rng.choice([-0.0, 0.0], n)


def _one_large(rng: np.random.Generator, n: int, bound: float, info: np.finfo) -> np.ndarray:
    v = rng.standard_normal(n) * float(info.tiny)
    v[0] = 2.5 * bound
    return v


def _not_a_number(rng: np.random.Generator, n: int, bound: float, info: np.finfo) -> np.ndarray:
    v = rng.standard_normal(n)
    v[rng.integers(n)] = rng.choice([np.nan, np.inf, -np.inf])
    return v


KINDS: dict[str, Slice] = {
    f.__name__.strip("_"): f
    for f in (
        _random,
        _equal,
        _any_magnitude,
        _largest,
        _near_the_bound,
        _zero,
        _one_large,
        _not_a_number,
    )
}


@st.composite
def weights(draw: st.DrawFn, dtype: str, bound: float):
    """A weight and the axis to constrain; each of its slices of a kind drawn by name."""
    import ml_dtypes

    shape, axis = draw(st.sampled_from(SHAPES_AND_AXES), label="shape, axis")
    axes = range(len(shape)) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = [i % len(shape) for i in axes]
    kept = [i for i in range(len(shape)) if i not in axes]
    count = int(np.prod([shape[i] for i in kept], initial=1))
    n = int(np.prod(shape)) // count
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=count, max_size=count))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    info = ml_dtypes.finfo(DTYPES[dtype])
    with np.errstate(over="ignore"):
        rows = np.stack([KINDS[kind](rng, n, bound, info) for kind in kinds])
        rows = rows.astype(DTYPES[dtype])
    rows = rows.reshape([shape[i] for i in kept] + [shape[i] for i in axes])
    return np.ascontiguousarray(
        np.moveaxis(rows, range(len(kept), rows.ndim), axes) if kept else rows
    ), axis
