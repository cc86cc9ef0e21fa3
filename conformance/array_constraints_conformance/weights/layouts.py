"""Layouts: the shapes that hold a number of slices, along one axis or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from array_constraints_conformance.catalogue import Rule
from array_constraints_conformance.numerics.axes import Axis, normalized, rank


@dataclass(frozen=True)
class Layout:
    """A shape for a number of slices, and the axis that they run along."""

    name: str
    shape: Callable[[int], tuple[int, ...]]
    axis: Axis
    quick: bool = False

    def array(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Return a C-ordered array with these slices; the last are repeated to fill it."""
        shape = self.shape(len(rows))
        axes = normalized(self.axis, len(shape))
        kept = tuple(i for i in range(len(shape)) if i not in axes)
        count = math.prod(shape[i] for i in kept)
        filled = np.stack([rows[i % len(rows)] for i in range(count)])
        lengths = [shape[i] for i in kept + axes]
        order = np.argsort(kept + axes)
        return np.ascontiguousarray(filled.reshape(lengths).transpose(order))

    def length(self, count: int) -> int:
        shape = self.shape(count)
        return math.prod(shape[i] for i in normalized(self.axis, len(shape)))


# Slices of 1, 3, 63, 64 and 12 entries, and then 2, 5, 18, 8, 3, 15 and 1,000 of them.
LAYOUTS = (
    Layout("one entry", lambda k: (1, k), 0, quick=True),
    Layout("leading axis", lambda k: (3, k), 0, quick=True),
    Layout("first and last axis", lambda k: (3, k, 21), (0, 2), quick=True),
    Layout("long slices", lambda k: (64, k), -2, quick=True),
    Layout("whole array", lambda k: (4, 3), None, quick=True),
    Layout("last axis", lambda k: (k, 2), -1),
    Layout("matrices", lambda k: (2, -(-k // 2), 5), [2]),
    Layout("convolution", lambda k: (3, 3, 2, k), (0, 1, 2)),
    Layout("axes in any order", lambda k: (4, k, 2), (-1, 0)),
    Layout("lengths of one", lambda k: (1, k, 1, 3), (-2, 3)),
    Layout("vector", lambda k: (15,), 0),
    Layout("a thousand entries", lambda k: (k, 1000), 1),
)


def suit(rule: Rule, layout: Layout) -> bool:
    """Whether a rule can be judged in a layout."""
    return rule.along(layout.axis).suits(layout.shape(8))


def layouts_for(rules: Sequence[Rule], quick: bool) -> list[Layout]:
    """Return the layouts that rules can be judged in: all, or those along their own axis."""
    rule = rules[0]
    if rule.judged_anywhere:
        return [
            layout
            for layout in LAYOUTS
            if any(suit(each, layout) for each in rules)
            and (not quick or (layout.name in rule.layouts if rule.layouts else layout.quick))
        ]
    axes = rule.axis
    if axes is None:
        return [layout for layout in LAYOUTS if layout.axis is None]
    return [*(layout for layout in LAYOUTS if layout.axis == axes), _along(axes)]


def _along(axis: Axis) -> Layout:
    """Return a layout along any axis: 3 entries, times 2 for each further one, are a slice."""
    ndim = rank(axis)
    while len(axes := normalized(axis, ndim)) == ndim:
        ndim += 1
    kept = [i for i in range(ndim) if i not in axes]

    def shape(k: int) -> tuple[int, ...]:
        lengths = dict.fromkeys(axes, 2) | {axes[0]: 3} | dict.fromkeys(kept, 1) | {kept[-1]: k}
        return tuple(lengths[i] for i in range(ndim))

    return Layout(f"axis {axis}", shape, axis, quick=True)


def may_be_drawn(rule: Rule) -> bool:
    """Whether small weights of two dimensions can be drawn for a rule: its axis leads."""
    return any(layout.axis == 0 for layout in layouts_for([rule], True))
