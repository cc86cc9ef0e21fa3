"""Decks: weights that hold a slice of each kind, in every layout and format.

A *deck* is one array for a layout and a format that holds a slice of each kind, so that what is
found does not depend on what is drawn.
"""

from __future__ import annotations

import math

import numpy as np

from array_constraints_conformance.catalogue import Rule
from array_constraints_conformance.numerics.formats import Format
from array_constraints_conformance.weights.case import Case
from array_constraints_conformance.weights.layouts import Layout, layouts_for

_DECKS: dict[tuple[object, ...], list[Case]] = {}


def deck(layout: Layout, rule: Rule, fmt: Format, seed: int, few: bool = False) -> list[Case]:
    """Return the arrays that together hold a slice of every kind, made once.

    Where the array is one slice, it takes an array for each: of every third kind, or of every
    twelfth where ``few`` are asked for.
    """
    key = (layout.name, rule.key, fmt.name, seed, few)
    if key not in _DECKS:
        _DECKS[key] = _deck(layout, rule, fmt, seed, few)
    return _DECKS[key]


def _deck(layout: Layout, rule: Rule, fmt: Format, seed: int, few: bool) -> list[Case]:
    rng = np.random.default_rng([seed, len(layout.name), fmt.digits])
    made = rule.kinds(fmt)
    n = layout.length(len(made))
    with np.errstate(over="ignore", under="ignore"):
        rows = [kind(rng, n).astype(fmt.dtype) for kind in made]
    rule = rule.along(layout.axis).placed(layout.shape(len(rows)))
    if math.prod(layout.shape(len(rows))) > n:
        return [Case(_locked(layout.array(rows)), rule)]
    first = (fmt.digits + fmt.max_exponent) % 3  # others in other formats, at every seed
    chosen = rows[first :: 12 if few else 3]
    return [Case(_locked(layout.array([row])), rule) for row in chosen]


def sample(rule: Rule, fmt: Format, seed: int) -> list[Case]:
    """Return a deck in the second layout that suits the rule: slices of 3 entries, mostly."""
    found = layouts_for([rule], True) or layouts_for([rule], False)
    return deck(found[min(1, len(found) - 1)], rule, fmt, seed)


def _locked(w: np.ndarray) -> np.ndarray:
    """Return the weight, made read-only, as every trial gets the same."""
    w.flags.writeable = False
    return w
