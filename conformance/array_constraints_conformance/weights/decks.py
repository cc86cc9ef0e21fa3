"""Decks: weights that hold a slice of each kind, in every layout and format.

A *deck* is one array for a layout and a format that holds a slice of each kind, so that what is
found does not depend on what is drawn.
"""

from __future__ import annotations

import math

import numpy as np

from array_constraints_conformance.catalogue import NormRule, Rule
from array_constraints_conformance.numerics.formats import Format
from array_constraints_conformance.weights.case import Case
from array_constraints_conformance.weights.kinds import kinds
from array_constraints_conformance.weights.layouts import Layout


def bounds_of(rule: Rule) -> tuple[float, ...]:
    return rule.bounds if isinstance(rule, NormRule) else (1.0,)


_DECKS: dict[tuple[object, ...], list[Case]] = {}


def deck(
    layout: Layout, rule: Rule, fmt: Format, seed: int, sparse: bool = False
) -> list[Case]:
    """Return the arrays that together hold a slice of every kind, made once.

    Where the array is one slice, a third of the kinds have to do, or ``sparse`` a twelfth.
    """
    key = (layout.name, rule.key, fmt.name, seed, sparse)
    if key not in _DECKS:
        _DECKS[key] = _deck(layout, rule, fmt, seed, sparse)
    return _DECKS[key]


def _deck(layout: Layout, rule: Rule, fmt: Format, seed: int, sparse: bool) -> list[Case]:
    rng = np.random.default_rng([seed, len(layout.name), fmt.digits])
    made = kinds(bounds_of(rule), fmt)
    n = layout.length(len(made))
    with np.errstate(over="ignore", under="ignore"):
        rows = [kind(rng, n).astype(fmt.dtype) for kind in made]
    rule = rule.along(layout.axis)
    if math.prod(layout.shape(len(rows))) > n:
        return [Case(_locked(layout.array(rows)), rule)]
    first = (fmt.digits + fmt.max_exponent) % 3  # others in other formats, at every seed
    chosen = rows[first :: 12 if sparse else 3]
    return [Case(_locked(layout.array([row])), rule) for row in chosen]


def _locked(w: np.ndarray) -> np.ndarray:
    """Return a weight that nobody can write into: others will see it again."""
    w.flags.writeable = False
    return w
