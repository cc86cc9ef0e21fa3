"""Weights that place the hard cases: every slice of a kind of its own, in every layout.

A *deck* is one array for a layout and a dtype that holds a slice of each kind, so that a
verdict does not depend on what is drawn; `weights` draws small arrays freely, so that
counterexamples are small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from array_constraints_conformance.catalogue import Axis, NormRule, Rule, normalized, rank
from array_constraints_conformance.numerics.exact import Slices
from array_constraints_conformance.numerics.formats import Format
from array_constraints_conformance.weights.kinds import kinds


@dataclass(frozen=True)
class Case:
    """A weight, and the rule that it is to be brought under."""

    w: np.ndarray
    rule: Rule

    @cached_property
    def key(self) -> tuple[object, ...]:
        return (self.rule.key, self.w.dtype.name, self.w.shape, self.w.tobytes())

    @cached_property
    def slices(self) -> Slices:
        """The slices of the weight; their exact norms are computed once."""
        return Slices(self.w, self.rule.axes(self.w.ndim))


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


def layouts_for(rule: Rule, quick: bool) -> list[Layout]:
    """Return the layouts that a rule can be judged in: all, or those along its own axis."""
    if "axis" in rule.arguments or not rule.axes(4):
        return [layout for layout in LAYOUTS if layout.quick or not quick]
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
    return any(layout.axis == 0 for layout in layouts_for(rule, True))


def bounds_of(rule: Rule) -> tuple[float, ...]:
    return rule.bounds if isinstance(rule, NormRule) else (1.0,)


_DECKS: dict[tuple[object, ...], list[Case]] = {}
_DRAWN: dict[tuple[object, ...], list[Case]] = {}


def deck(
    layout: Layout, rule: Rule, form: Format, seed: int, sparse: bool = False
) -> list[Case]:
    """Return the arrays that together hold a slice of every kind, made once.

    Where the array is one slice, a third of the kinds have to do, or ``sparse`` a twelfth.
    """
    key = (layout.name, rule.key, form.name, seed, sparse)
    if key not in _DECKS:
        _DECKS[key] = _deck(layout, rule, form, seed, sparse)
    return _DECKS[key]


def _deck(layout: Layout, rule: Rule, form: Format, seed: int, sparse: bool) -> list[Case]:
    rng = np.random.default_rng([seed, len(layout.name), form.digits])
    made = kinds(bounds_of(rule), form)
    n = layout.length(len(made))
    with np.errstate(over="ignore", under="ignore"):
        rows = [kind(rng, n).astype(form.dtype) for kind in made]
    rule = rule.along(layout.axis)
    if math.prod(layout.shape(len(rows))) > n:
        return [Case(_locked(layout.array(rows)), rule)]
    first = (form.digits + form.max_exponent) % 3  # others in other formats, at every seed
    chosen = rows[first :: 12 if sparse else 3]
    return [Case(_locked(layout.array([row])), rule) for row in chosen]


def _locked(w: np.ndarray) -> np.ndarray:
    """Return a weight that nobody can write into: others will see it again."""
    w.flags.writeable = False
    return w


Fitting = Sequence[tuple[Format, Sequence[Rule]]]


def fitting(rules: Sequence[Rule], formats: Sequence[Format]) -> Fitting:
    """Return the formats with the rules whose laws speak of slices of two entries there."""
    found = ((form, [rule for rule in rules if rule.fits(form, 2)]) for form in formats)
    return [(form, fit) for form, fit in found if fit]


def drawn(source: Fitting, seed: int, count: int) -> list[Case]:
    """Return weights that Hypothesis draws, drawn once: every law sees the same."""
    keys = ((form.name, *(rule.key for rule in rules)) for form, rules in source)
    key = (*keys, seed, count)
    if key not in _DRAWN:
        found: list[Case] = []
        if source:
            search(found.append, source, seed, count)
        _DRAWN[key] = found
    return _DRAWN[key]


def search(holds: Callable[[Case], object], source: Fitting, seed: int, count: int) -> None:
    """Draw weights for ``holds``; where it raises, raise for the smallest weight found."""
    limits = settings(
        max_examples=count,
        database=None,
        deadline=None,  # JAX compiles
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        print_blob=False,
    )

    def law(case: Case) -> None:
        holds(case)

    hypothesis.seed(seed)(limits(given(weights(source))(law)))()


def weights(source: Fitting) -> st.SearchStrategy[Case]:
    """Small weights whose every entry is drawn, ordinary ones first."""

    def entries(pair: tuple[Format, Sequence[Rule]]) -> st.SearchStrategy[Case]:
        form, rules = pair
        width = {"float16": 16, "float64": 64}.get(form.name, 32)
        u, t = float(form.u), form.smallest
        hard = [0.0, 1.0, 2.0, 0.5, 1 + 2 * u, 1 - u, form.largest, t, 2 * u * t, t**0.5 / 2]
        signed = st.sampled_from([s * v for v in hard for s in (1.0, -1.0)])
        entry = st.floats(-4, 4, width=width) | signed | st.floats(width=width)

        def case(drawn: list[float], rule: Rule) -> Case:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                w = np.asarray(drawn).reshape(2, 3).astype(form.dtype)
                w[np.isnan(w)] = np.nan  # quiet: NumPy warns when it reads a signalling one
            return Case(w, rule.along(0) if "axis" in rule.arguments else rule)

        return st.builds(
            case, st.lists(entry, min_size=6, max_size=6), st.sampled_from(list(rules))
        )

    return st.sampled_from(list(source)).flatmap(entries)
