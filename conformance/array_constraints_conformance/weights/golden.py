"""Golden vectors: weights and exact results as bits, for other programming languages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import CATALOGUE, ExactRule, KnownRule, Rule
from array_constraints_conformance.catalogue.combined import ChainRule
from array_constraints_conformance.numerics.exact import Slices, floats, product, root
from array_constraints_conformance.numerics.formats import FORMATS, Format
from array_constraints_conformance.weights.decks import sample

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


_MOST = 64
"""Slices that are taken of one weight: a weight of blocks has thousands."""


def _of(rule: Rule, fmt: Format, seed: int) -> list[dict[str, Any]]:
    found = []
    for case in sample(rule, fmt, seed) if rule.fits(fmt, 3) else ():
        slices = case.slices
        whole = not case.rule.uniform  # what becomes of an entry depends on its place
        for i, row in enumerate(slices.rows[: 1 if whole else _MOST]):
            if not (whole or _is_settled(case.rule, slices, i)):  # type: ignore[arg-type]
                continue
            result, tolerance = _result(case.rule, slices, i, fmt)  # type: ignore[arg-type]
            given, made = row.reshape(-1, 1), result
            if whole:
                given, made = case.w, case.rule.image(case.w)  # type: ignore[attr-defined]
            found.append(
                {
                    "constraint": rule.name,
                    "config": {k: _number(v) for k, v in case.rule.arguments.items()},
                    "dtype": fmt.name,
                    "shape": list(given.shape),
                    "input": bits(given.reshape(-1)),
                    "result": bits(made.reshape(-1)),
                    "tolerance": tolerance,
                }
            )
    return found


def _is_settled(rule: KnownRule, slices: Slices, i: int) -> bool:
    """Whether a law says what becomes of a slice: not where its nearest point overflows."""
    settled = rule.directed(slices, slices.peak == 0) | rule.undirected(slices)
    if not isinstance(rule, ChainRule):  # each member of which has its own way with NaN
        settled = settled | rule.unmoved(slices)
    return isinstance(rule, ExactRule) or bool(settled[i])


def _result(rule: KnownRule, slices: Slices, i: int, fmt: Format) -> tuple[np.ndarray, float]:
    row = slices.rows[i]
    if isinstance(rule, ExactRule):
        return rule.nearest_rows(slices)[i], 0.0
    if not rule.directed(slices, slices.peak == 0)[i]:
        return row, 0.0
    if rule.interior(slices, fmt, fmt.underflow(slices.length))[i]:
        return row, 0.0
    nearest = rule.nearest(slices, i)
    norm = root(product(nearest, nearest))
    allowed = rule.near(slices, i, fmt, norm)
    with np.errstate(over="ignore", under="ignore"):
        result = np.asarray(floats(nearest)).astype(row.dtype)
    return result, float(allowed / norm if norm else 0)


def _number(value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def bits(row: np.ndarray) -> list[str]:
    """Return the bits of each entry in hexadecimal."""
    words = np.ascontiguousarray(row).view(f"u{row.dtype.itemsize}")
    return [f"{int(word):0{2 * row.dtype.itemsize}x}" for word in words]


def entries(words: list[str], fmt: Format) -> np.ndarray:
    """Return the entries that :func:`bits` wrote."""
    size = fmt.dtype.itemsize
    return np.asarray([int(word, 16) for word in words], dtype=f"u{size}").view(fmt.dtype)
