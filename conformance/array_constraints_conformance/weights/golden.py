"""Golden vectors: weights and exact results as bits, for other programming languages."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import CATALOGUE, NormRule, Rule
from array_constraints_conformance.numerics.exact import Slices
from array_constraints_conformance.numerics.formats import FORMATS, Format
from array_constraints_conformance.weights.decks import deck
from array_constraints_conformance.weights.layouts import LAYOUTS

SCHEMA = 1


def vectors(seed: int = 0) -> dict[str, Any]:
    """Return every kind of slice under every rule of the catalogue, in every format.

    Bits are hexadecimal, most significant first, one word for each entry. The result is the
    exact one, rounded to the format; ``tolerance`` is how far a right result may be from it,
    relative to its norm; 0 means bit for bit, but for the payload of NaN. An infinite
    parameter is ``"inf"``: JSON has no such number.
    """
    return {
        "schema": SCHEMA,
        "vectors": [
            vector
            for definition in CATALOGUE.values()
            for rule in definition.rules()
            for fmt in FORMATS.values()
            for vector in _of(rule, fmt, seed)
        ],
    }


def _of(rule: Rule, fmt: Format, seed: int) -> list[dict[str, Any]]:
    found = []
    for case in deck(LAYOUTS[1], rule, fmt, seed):
        slices = Slices(case.w, (0,))
        for i, row in enumerate(slices.rows):
            result, tolerance = _result(case.rule, slices, i, fmt)
            found.append(
                {
                    "constraint": rule.name,
                    "config": {k: _number(v) for k, v in rule.arguments.items()},
                    "dtype": fmt.name,
                    "input": bits(row),
                    "result": bits(result),
                    "tolerance": tolerance,
                }
            )
    return found


def _result(rule: Rule, slices: Slices, i: int, fmt: Format) -> tuple[np.ndarray, float]:
    row = slices.rows[i]
    if not isinstance(rule, NormRule):
        return np.where(slices.values[i] < 0, 0.0, slices.values[i]).astype(row.dtype), 0.0
    if not slices.finite[i] or slices.peak[i] == 0:
        return row, 0.0
    if rule.holds(slices, -fmt.band(slices.length))[i]:
        return row, 0.0
    scale, vector = rule.scale(slices, i), slices.vector(i)
    exact = [float(scale * x * Fraction(2) ** vector.exponent) for x in vector.integers]
    return np.asarray(exact).astype(row.dtype), float(fmt.near(slices.length))


def _number(value: Any) -> Any:
    return "inf" if value == math.inf else value


def bits(row: np.ndarray) -> list[str]:
    """Return the bits of each entry in hexadecimal."""
    words = np.ascontiguousarray(row).view(f"u{row.dtype.itemsize}")
    return [f"{int(word):0{2 * row.dtype.itemsize}x}" for word in words]


def entries(words: list[str], fmt: Format) -> np.ndarray:
    """Return the entries that :func:`bits` wrote."""
    size = fmt.dtype.itemsize
    return np.asarray([int(word, 16) for word in words], dtype=f"u{size}").view(fmt.dtype)
