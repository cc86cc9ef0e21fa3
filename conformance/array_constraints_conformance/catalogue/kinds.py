"""Kinds of slices: ordinary, on and beside a bound, at the ends of the range, not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from array_constraints_conformance.numerics.formats import Format

Kind = Callable[[np.random.Generator, int], np.ndarray]


def kinds(bounds: Sequence[float], fmt: Format) -> list[Kind]:
    """Return functions that make a slice of n entries, for a set with these bounds."""
    upper = max(bounds, default=1.0)
    return [
        *ordinary(min(bounds, default=1.0), upper),
        *boundary(bounds, fmt),
        *extreme(fmt),
        *special(fmt, upper),
        *map(_filled, _ROUNDING),
    ]


# Equal entries whose roundoffs add up: in float64, a thousand of the first two make a norm too
# short and too long; in float16, the third moves again where norm, factor and product are each
# rounded.
_ROUNDING = (1.467187880323444, 1.8737953433263868, 1.021484375)


def _filled(value: float) -> Kind:
    return lambda g, n: np.full(n, value)


def _direction(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return a vector of norm 1 none of whose entries is tiny."""
    v = rng.standard_normal(n)
    v = np.where(np.abs(v) < 0.05, 0.05, v)
    return v / math.sqrt(math.fsum(v * v))


def _unit(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return a vector with one entry that is not zero, 1 or -1."""
    return np.eye(1, n, int(rng.integers(n)))[0] * rng.choice([-1.0, 1.0])


def _signs(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], n)


def _of_norm(norm: float) -> Kind:
    return lambda g, n: _direction(g, n) * norm


def _between(low: float, high: float, norm: float) -> Kind:
    return lambda g, n: _direction(g, n) * norm * g.uniform(low, high)


def _of_size(size: float) -> Kind:
    """Entries of one magnitude and any sign."""
    return lambda g, n: _signs(g, n) * size


def ordinary(lower: float, upper: float) -> Iterator[Kind]:
    inside = lower if lower == upper else (lower + upper) / 2
    yield _between(0.2, 0.8, upper)
    yield _between(1.1, 3, upper)
    yield _between(3, 6, upper)
    yield _between(0.1, 0.9, lower)
    yield _between(0.95, 1.05, inside)
    yield lambda g, n: np.abs(_direction(g, n)) * inside
    yield lambda g, n: np.full(n, upper) * g.uniform(1.1, 3) * g.choice([-1.0, 1.0])
    yield lambda g, n: np.full(n, inside / math.sqrt(n) * g.uniform(0.9, 1.0))
    yield lambda g, n: np.where(np.arange(n) % 2 == 0, 1.0, -0.0) * upper * g.uniform(1.5, 2)
    yield lambda g, n: _unit(g, n) * upper * 2.5
    yield lambda g, n: np.full(n, 1 / 64)  # the least that is ordinary: shows an epsilon
    yield lambda g, n: np.full(n, 1.888671875)  # added one by one, 64 of these leave 16 bits
    yield lambda g, n: np.full(n, 1.310546875)  # too short, and 64 of these too long
    yield lambda g, n: np.where(_unit(g, n) != 0, 0.5 * lower, -0.0)


def boundary(bounds: Sequence[float], fmt: Format) -> Iterator[Kind]:
    u = float(fmt.u)
    for b in bounds:
        yield from (_of_norm(b * (1 + 2 * eps * u)) for eps in (-3, -2, -1, 0, 1, 2, 3))
        yield from (_single(b * (1 + 2 * eps * u)) for eps in (-1, 0, 1))
        for side in (-1, 1):
            yield _beyond(b, side, fmt.band, fmt)
            yield _beyond(b, side, fmt.tolerance, fmt)
            yield _of_norm(b * (1 + side * 200 * u))  # beyond every margin
        yield _equal(b)


def _single(size: float) -> Kind:
    return lambda g, n: _unit(g, n) * size


def _equal(norm: float) -> Kind:
    return lambda g, n: np.full(n, norm / math.sqrt(n))


def _beyond(bound: float, side: int, margin: Callable[[int], Fraction], fmt: Format) -> Kind:
    """Return slices whose norm is just beyond a margin of the specification."""

    def kind(g: np.random.Generator, n: int) -> np.ndarray:
        return _direction(g, n) * bound * (1 + side * float(margin(n) + 3 * fmt.u))

    return kind


def extreme(fmt: Format) -> Iterator[Kind]:
    largest, smallest, u = fmt.largest, fmt.smallest, float(fmt.u)
    yield _of_size(largest)
    yield _of_norm(largest)
    yield _of_size(math.sqrt(largest) * 2)  # its square overflows
    yield _of_size(smallest)
    yield lambda g, n: g.uniform(1, 2, n) * math.sqrt(smallest) / 8  # its square underflows
    yield lambda g, n: np.full(n, smallest)
    yield lambda g, n: np.full(n, math.sqrt(smallest) / 8)
    yield lambda g, n: _unit(g, n) * largest + smallest
    yield _of_size(smallest * 0.75)  # subnormal
    yield _single(smallest * 2 * u)  # the smallest subnormal number
    low, high = math.log2(smallest), math.log2(largest) - 2
    for _ in range(3):  # any magnitude
        yield lambda g, n: _direction(g, n) * 2.0 ** g.uniform(low, high)
    yield lambda g, n: np.clip(_direction(g, n), -0.9, 0.9) * 2.0 ** g.uniform(low, high, n)


def special(fmt: Format, upper: float) -> Iterator[Kind]:
    yield lambda g, n: np.zeros(n)
    yield lambda g, n: np.where(np.arange(n) % 2 == 0, -0.0, 0.0)
    yield from (_with_entry(value, 3 * upper) for value in (math.nan, math.inf, -math.inf))
    yield _with_entry(math.nan, fmt.largest)
    yield _with_entry(math.inf, 0.1 * upper)
    yield lambda g, n: np.where(np.arange(n) % 2 == 0, math.nan, -math.inf)
    yield lambda g, n: np.full(n, math.nan)


def _with_entry(value: float, norm: float) -> Kind:
    def kind(g: np.random.Generator, n: int) -> np.ndarray:
        v = _direction(g, n) * norm
        v[int(g.integers(n))] = value
        return v

    return kind
