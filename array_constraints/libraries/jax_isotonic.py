"""Isotonic regression on JAX: a loop over the entries, of all rows at once.

The expression of the other libraries takes XLA seconds to compile for each shape.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as xp

from array_constraints.numerics.signed_sums import add_exactly


class _Stack(NamedTuple):
    """The pools of each row so far; each begins at an index, and has a sum, kept as a pair."""

    starts: Any
    sums: Any
    dropped: Any
    top: Any
    """The number of the last pool."""
    seen: Any
    """How many entries are in pools."""


def regression(x: Any) -> Any:
    """Return the nearest rows, of finite numbers along the last dimension, that never fall.

    In each step, the last pool of a row joins with the one before if it is below that, or else
    the next entry becomes a pool: 2 n - 1 steps at most.
    """
    n = x.shape[-1]
    rows = xp.reshape(x, (math.prod(x.shape[:-1]), n))
    first = xp.zeros_like(rows[:, 0], dtype=int)
    start, zero = xp.zeros_like(rows, dtype=int), xp.zeros_like(rows)
    stack = _Stack(start, zero.at[:, 0].set(rows[:, 0]), zero, first, first + 1)
    stack = jax.lax.fori_loop(0, 2 * n - 2, lambda _, stack: _step(rows, stack), stack)
    ends = xp.concatenate([stack.starts[:, 1:], stack.starts[:, :1]], axis=1)
    places = xp.arange(n)
    ends = xp.where(places < stack.top[:, None], ends, n)
    means = (stack.sums + stack.dropped) / (ends - stack.starts)
    marks = xp.where(places <= stack.top[:, None], stack.starts, n)  # beyond: dropped
    numbers = xp.arange(len(rows))[:, None]
    pools = xp.zeros_like(start).at[numbers, marks].add(1, mode="drop").cumsum(axis=1) - 1
    return xp.reshape(xp.take_along_axis(means, pools, axis=1), x.shape)


def _step(rows: Any, stack: _Stack) -> _Stack:
    starts, sums, dropped, top, seen = stack
    numbers, n = xp.arange(len(rows)), rows.shape[1]
    own, before = (numbers, top), (numbers, xp.maximum(top - 1, 0))
    mean = (sums[own] + dropped[own]) / (seen - starts[own])
    lower = (sums[before] + dropped[before]) / xp.maximum(starts[own] - starts[before], 1)
    falls = (top > 0) & (mean < lower)
    more = ~falls & (seen < n)
    total, lost = add_exactly(sums[before], sums[own])
    lost = lost + (dropped[before] + dropped[own])
    place = xp.where(falls, top - 1, xp.where(more, top + 1, top))
    following = rows[numbers, xp.minimum(seen, n - 1)]

    def placed(y: Any, joined: Any, added: Any) -> Any:
        value = xp.where(falls, joined, xp.where(more, added, y[own]))
        return y.at[numbers, place].set(value)

    return _Stack(
        placed(starts, starts[before], seen),
        placed(sums, total, following),
        placed(dropped, lost, 0.0),
        place,
        xp.where(more, seen + 1, seen),
    )
