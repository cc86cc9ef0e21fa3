"""Nearest points in rational numbers, and how far a float64 result may be from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from convex_sets import Arguments
from slices_to_threshold import exact_ball, exact_projection

Exact = tuple[list[Fraction], Fraction]
"""The entries, and the error that is added to that of an entry's own rounding."""
U = Fraction(1, 2**53)


def rationals(values: np.ndarray) -> list[Fraction]:
    return list(map(Fraction, values.ravel().tolist()))


def root(square: Fraction) -> Fraction:
    """Return the square root, rounded down to 200 bits behind the point."""
    return Fraction(math.isqrt((square.numerator << 400) // square.denominator), 1 << 200)


def _along(normal: list[Fraction], bound: Fraction, w: np.ndarray, always: bool) -> Exact:
    """Return the weight less the share of the normal that its inner product has too much."""
    v = rationals(w)
    square = sum(a * a for a in normal)
    terms = [a * x for a, x in zip(normal, v, strict=True)]
    over = sum(terms) - bound
    share = over / square if always or over > 0 else Fraction(0)
    lost = (sum(map(abs, terms)) + abs(bound)) / square * max(map(abs, normal))
    return [x - share * a for x, a in zip(v, normal, strict=True)], lost


def _plane(bound: str, always: bool) -> Callable[[Arguments, np.ndarray], Exact]:
    def nearest(given: Arguments, w: np.ndarray) -> Exact:
        normal = rationals(np.asarray(given["normal"]))
        return _along(normal, Fraction(given[bound]), w, always)

    return nearest


def _sum(given: Arguments, w: np.ndarray) -> Exact:
    return _along([Fraction(1)] * w.size, Fraction(given["total"]), w, True)


def _mean(given: Arguments, w: np.ndarray) -> Exact:
    return _along([Fraction(1)] * w.size, Fraction(given["value"]) * w.size, w, True)


def _max_norm(given: Arguments, w: np.ndarray) -> Exact:
    v, most = rationals(w), Fraction(given["max_value"])
    square = sum(x * x for x in v)
    factor = most / root(square) if square > most * most else Fraction(1)
    return [factor * x for x in v], Fraction(0)


def _simplex(given: Arguments, w: np.ndarray) -> Exact:
    return exact_projection(w, given["total"]), Fraction(given["total"])


def _l1_ball(given: Arguments, w: np.ndarray) -> Exact:
    return exact_ball(w, given["radius"]), Fraction(given["radius"])


def _box(given: Arguments, w: np.ndarray) -> Exact:
    low, high = Fraction(given["min_value"]), Fraction(given["max_value"])
    return [min(max(x, low), high) for x in rationals(w)], Fraction(0)


EXACT = {
    "Box": _box,
    "Halfspace": _plane("bound", False),
    "Hyperplane": _plane("value", True),
    "L1Ball": _l1_ball,
    "MaxNorm": _max_norm,
    "Mean": _mean,
    "Simplex": _simplex,
    "Sum": _sum,
}
