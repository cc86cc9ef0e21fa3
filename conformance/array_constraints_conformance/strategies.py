"""Weights that place the hard cases: every slice of a kind of its own, in every layout.

A *deck* is one array per layout and dtype that holds a slice of each kind, so that a verdict does not
depend on what is drawn; `weights` draws small arrays freely, so that counterexamples are small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from array_constraints_conformance.formats import Format
from array_constraints_conformance.rules import Axis, NormRule, Rule, normalized


@dataclass(frozen=True)
class Case:
    """A weight, and the rule that it is to be brought under."""

    w: np.ndarray
    rule: Rule

    @property
    def key(self) -> tuple[object, ...]:
        return (self.rule.key, self.w.dtype.name, self.w.shape, self.w.tobytes())


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


# Slices of 1, 3, 33, 64 and 12 entries, and then 2, 5, 18, 8, 3, 15 and 1,000 of them.
LAYOUTS = (
    Layout("one entry", lambda k: (1, k), 0, quick=True),
    Layout("leading axis", lambda k: (3, k), 0, quick=True),
    Layout("first and last axis", lambda k: (3, k, 11), (0, 2), quick=True),
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
    return [layout for layout in LAYOUTS if layout.axis == axes] or [LAYOUTS[1]]


Kind = Callable[[np.random.Generator, int], np.ndarray]


def _directions(rng: np.random.Generator, n: int) -> np.ndarray:
    v = rng.standard_normal(n)
    v = np.where(np.abs(v) < 0.05, 0.05, v)
    return v / math.sqrt(math.fsum(v * v))


def _unit(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.eye(1, n, int(rng.integers(n)))[0] * rng.choice([-1.0, 1.0])


def _ordinary(bounds: Sequence[float]) -> Iterator[Kind]:
    lower, upper = min(bounds, default=1.0), max(bounds, default=1.0)
    inside = lower if lower == upper else (lower + upper) / 2
    for low, high in ((0.2, 0.8), (1.1, 3.0), (3.0, 6.0)):
        yield lambda g, n, a=low, b=high: _directions(g, n) * upper * g.uniform(a, b)
    yield lambda g, n: _directions(g, n) * lower * g.uniform(0.1, 0.9)
    yield lambda g, n: _directions(g, n) * inside * g.uniform(0.95, 1.05)
    yield lambda g, n: np.abs(_directions(g, n)) * inside
    yield lambda g, n: np.full(n, upper * g.uniform(1.1, 3)) * g.choice([-1.0, 1.0])
    yield lambda g, n: np.full(n, inside / math.sqrt(n) * g.uniform(0.9, 1.0))
    yield lambda g, n: np.where(np.arange(n) % 2 == 0, 1.0, -0.0) * upper * g.uniform(1.5, 2)
    yield lambda g, n: _unit(g, n) * upper * 2.5
    yield lambda g, n: np.where(_unit(g, n) != 0, 0.5 * lower, -0.0)


def _boundary(bounds: Sequence[float], form: Format) -> Iterator[Kind]:
    u = float(form.u)
    for b in bounds:
        for eps in (-3, -2, -1, 0, 1, 2, 3):
            yield lambda g, n, b=b, e=eps: _directions(g, n) * b * (1 + 2 * e * u)
        for eps in (-1, 0, 1):
            yield lambda g, n, b=b, e=eps: _unit(g, n) * b * (1 + 2 * e * u)
        for side in (-1, 1):  # just beyond the band, and well beyond every margin
            yield lambda g, n, b=b, s=side: (
                _directions(g, n) * b * (1 + s * (float(form.band(n)) + 3 * u))
            )
            yield lambda g, n, b=b, s=side: _directions(g, n) * b * (1 + s * 200 * u)
        yield lambda g, n, b=b: np.full(n, b / math.sqrt(n))


def _extreme(form: Format) -> Iterator[Kind]:
    largest, smallest, u = form.largest, form.smallest, float(form.u)
    yield lambda g, n: g.choice([-1.0, 1.0], n) * largest
    yield lambda g, n: _directions(g, n) * largest
    yield lambda g, n: g.choice([-1.0, 1.0], n) * math.sqrt(largest) * 2
    yield lambda g, n: g.choice([-1.0, 1.0], n) * smallest
    yield lambda g, n: g.uniform(1, 2, n) * math.sqrt(smallest) / 8
    yield lambda g, n: _unit(g, n) * largest + smallest
    yield lambda g, n: g.choice([-1.0, 1.0], n) * smallest * 0.75  # subnormal
    yield lambda g, n: _unit(g, n) * smallest * 2 * u  # the smallest subnormal number
    low, high = math.log2(smallest), math.log2(largest) - 2
    for _ in range(3):  # any magnitude
        yield lambda g, n: _directions(g, n) * 2.0 ** g.uniform(low, high)
    yield lambda g, n: np.clip(_directions(g, n), -0.9, 0.9) * 2.0 ** g.uniform(low, high, n)


def _special(form: Format, bounds: Sequence[float]) -> Iterator[Kind]:
    upper = max(bounds, default=1.0)

    def with_entry(value: float, scale: float) -> Kind:
        def kind(g: np.random.Generator, n: int) -> np.ndarray:
            v = _directions(g, n) * scale
            v[int(g.integers(n))] = value
            return v

        return kind

    yield lambda g, n: np.zeros(n)
    yield lambda g, n: np.where(np.arange(n) % 2 == 0, -0.0, 0.0)
    for value in (math.nan, math.inf, -math.inf):
        yield with_entry(value, 3 * upper)
    yield with_entry(math.nan, form.largest)
    yield with_entry(math.inf, 0.1 * upper)
    yield lambda g, n: np.where(np.arange(n) % 2 == 0, math.nan, -math.inf)
    yield lambda g, n: np.full(n, math.nan)


def bounds_of(rule: Rule) -> tuple[float, ...]:
    return rule.bounds if isinstance(rule, NormRule) else (1.0,)


def deck(layout: Layout, rule: Rule, form: Format, seed: int) -> Iterator[Case]:
    """Yield the arrays that together hold a slice of every kind."""
    rng = np.random.default_rng([seed, len(layout.name), form.digits])
    bounds = bounds_of(rule)
    kinds = [
        *_ordinary(bounds),
        *_boundary(bounds, form),
        *_extreme(form),
        *_special(form, bounds),
    ]
    n = layout.length(len(kinds))
    with np.errstate(over="ignore", under="ignore"):
        rows = [kind(rng, n).astype(form.dtype) for kind in kinds]
    rule = rule.along(layout.axis)
    shape = layout.shape(len(rows))
    if math.prod(shape) // n == 1:
        yield from (Case(layout.array([row]), rule) for row in rows[seed % 3 :: 3])
    else:
        yield Case(layout.array(rows), rule)


FREE = Layout("drawn", lambda k: (2, 3), 0)


def weights(rules: Sequence[Rule], formats: Sequence[Format]) -> st.SearchStrategy[Case]:
    """Small weights whose every entry is drawn, ordinary ones first."""

    def entries(form: Format) -> st.SearchStrategy[Case]:
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

    return st.sampled_from(list(formats)).flatmap(entries)
