"""Rules on named arrays: each constraint once, on all of the arrays that it is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from array_constraints import libraries, trees
from array_constraints.executors import run
from array_constraints.layers import Weight, weights_of
from array_constraints.libraries.base import IMMUTABLE
from array_constraints.rules.selection import Selection


class _Rules(Protocol):
    def select(self, weights: list[Weight]) -> list[Selection]: ...


def applied(rules: _Rules, named: Any, layout: str | None, copy: bool | None) -> Any:
    """Return named arrays with the constraint of its rule applied to each."""
    pairs = None if hasattr(named, "items") else list(named)
    weights = weights_of(named if pairs is None else pairs, layout)
    taken_apart = trees.take_apart(named if pairs is None else [x for _, x in pairs], [])
    arrays = [weight.array for weight in weights]
    places, tied = _tied(weights, copy)
    selections = rules.select(tied)
    by_weight = {id(weight): group for weight, group in zip(tied, places, strict=True)}
    for selection in selections:
        selection.judge(selection.weight.array, copy)
    results = constrained(selections, copy)
    for selection, result in zip(selections, results, strict=True):
        for i in by_weight[id(selection.weight)]:
            arrays[i] = arrays[i] if result is selection.weight.array else result
    found = trees.put_together(taken_apart, arrays)
    if pairs is None:
        return found
    return [(name, x) for (name, _), x in zip(pairs, found, strict=True)]


def constrained(selections: Sequence[Selection], copy: bool | None) -> list[Any]:
    """Return the selected arrays constrained; those of one constraint by one call."""
    groups: list[tuple[Any, list[int]]] = []
    for i, selection in enumerate(selections):
        for constraint, places in groups:
            if _are_equal(constraint, selection.constraint):
                places.append(i)
                break
        else:
            groups.append((selection.constraint, [i]))
    results: list[Any] = [None] * len(selections)
    for constraint, places in groups:
        arrays = [selections[i].weight.array for i in places]
        for i, result in zip(places, trees.constrained(constraint, arrays, copy), strict=True):
            results[i] = result
    return results


def _called(function: Any, w: Any, copy: bool | None) -> Any:
    """Return what a callable that is no constraint makes of an array."""
    return run.deliver(w, function(w), copy, libraries.of(w))


def _are_equal(constraint: Any, other: Any) -> bool:
    if constraint is other:
        return True
    try:
        return bool(constraint == other)
    except (TypeError, ValueError):  # bounds that are traced, or arrays
        return False


def _is_a_value(w: Any) -> bool:
    """Whether an array cannot be written, so that two places are never one weight."""
    try:
        library = libraries.of(w)
    except TypeError:  # the constraint says what is wrong with it
        return False
    return library.unwritable(w) == IMMUTABLE


def _tied(weights: list[Weight], copy: bool | None) -> tuple[list[list[int]], list[Weight]]:
    """Return the places of each weight, and it with all of its names."""
    arrays = [weight.array for weight in weights]
    ties = list(range(len(arrays))) if copy is True else libraries.ties(arrays)
    groups: dict[int, list[int]] = {}
    for i, first in enumerate(ties):
        place = i if _is_a_value(arrays[i]) else first
        groups.setdefault(place, []).append(i)
    tied = [
        dataclasses.replace(
            weights[first], ties=tuple((weights[i].name, weights[i].role) for i in rest)
        )
        for first, *rest in groups.values()
    ]
    return list(groups.values()), tied
