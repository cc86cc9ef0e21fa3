r"""Thresholds of slices that are read block by block: brackets around the root, and rounds.

A round measures count and sum above each of a few pivots in a bracket ``[left, right]``: these
add up over blocks. With ``f(t) = sum(max(z - t, 0)) - s``, convex and decreasing, of slope
``-count(t)`` to the right of t, what was measured says three things of the root:

- It is not left of any tangent's root, ``t + f(t) / count(t)``.
- It is not right of the root of the chord between two pivots with ``f(a) >= 0 > f(b)``.
- ``f`` at the new left end is at most what the chord has there, as ``f`` is convex.

**When a slice is done.** ``count(a) == count(b)``: no entry is in ``(a, b]``, so that ``f`` is
a line there, and the tangent's root *is* the root. Or the chord, at the new left end, is below
the tolerance: entries between the pivots have not been seen, and need not be, as together they
change the sum by no more. Or ``f`` is that small at a pivot itself. Each is a proof from counts
and sums alone, so no entry is ever collected.

After the first round, whose pivots rise geometrically, each divides the bracket by
``(K - 1) / 2`` at least, with K pivots: no gap between two is wider. In a bracket of width
``w``, ``f`` at the left end is ``n w`` at most, so that ``1 + log(n s / tolerance) /
log((K - 1) / 2)`` rounds are always enough. As a rule the width is squared, and 1 to 5 rounds
are. Pivots are relative to an *origin*, which is the last left end, so that they have digits to
spare however narrow the bracket is.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_constraints.numerics import masses, thresholds
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.masses import Mass, Target
from array_constraints.numerics.thresholds import Search, Threshold
from array_constraints.typing import Array, Namespace

PIVOTS = 16


class Bracket(NamedTuple):
    """What is known of the thresholds of slices: one round's question, or the answer."""

    total: Array
    """The sum to reach, scaled."""
    scale: Array | None
    largest: Array
    moves: Array
    """Which slices are projected."""
    open: Array
    """Which of them are not done."""
    origin: Array
    left: Array
    """The left end, relative to the origin; of what is done, the threshold."""
    pivots: Array
    """The pivots, along a dimension in front, relative to the origin: they rise."""
    precision: Precision
    ball: bool

    def search(self, axes: tuple[int, ...], how: Any) -> Search:
        """Return the search that measures and projects blocks."""
        return Search(
            self.total, self.scale, self.largest, axes, self.precision, self.ball, how
        )


class Above(NamedTuple):
    """How many entries of a block are above each pivot, and by how much together."""

    counts: Array
    sums: Array
    errors: Array | None
    """What rounding dropped from the sums; None where that does not count."""


def started(mass: Mass, target: Target, how: Any, pivots: int = PIVOTS) -> Bracket:
    """Return the first bracket, from the mass of whole slices: ``[-s, -s/n]``, or narrower.

    All entries that are active give a tangent, too: the mean of all, less ``s/n``.
    """
    xp = how.xp
    found, moves = thresholds.search(mass, target, (), how)
    mean = mass.sum.value / mass.entries
    mean = mean if mass.sum.scale is None else mean / mass.sum.scale
    mean = mean - found.largest
    mean = mean if found.scale is None else mean * found.scale
    share = found.target / mass.entries
    left = xp.where(mean - share > -found.target, mean - share, -found.target)
    left = xp.minimum(left, -share)  # which roundoff of a mean of large entries would exceed
    floor = found.precision.accumulator.smallest_normal
    ratio = share / xp.maximum(-left, xp.full_like(left, floor))
    ratio = xp.clip(ratio, floor, 1.0)
    steps = [left * ratio ** (j / (pivots - 1)) for j in range(pivots)]
    return Bracket(
        found.target,
        found.scale,
        found.largest,
        moves,
        moves,
        xp.zeros_like(left),
        left,
        xp.stack(steps),
        found.precision,
        found.ball,
    )


def above(block: Array, bracket: Bracket, axes: tuple[int, ...], how: Any) -> Above:
    """Return what of a block is above the pivots of its slices."""
    xp, search = how.xp, bracket.search(axes, how)
    z = search.offsets(block) - bracket.origin
    counts, sums, errors = [], [], []
    for j in range(int(bracket.pivots.shape[0])):
        part = z - bracket.pivots[j, ...]
        part = xp.maximum(part, xp.zeros_like(part))
        value, error = masses.exact_total(part, axes, search.exact, how)
        counts.append(how.total(xp.astype(part > 0, part.dtype), axes))
        sums.append(value)
        errors.append(error)
    exact = xp.stack(errors) if search.exact else None
    return Above(xp.stack(counts), xp.stack(sums), exact)


def merge(a: Above, b: Above) -> Above:
    """Return what is above the pivots in two blocks of the same slices, taken together."""
    counts = a.counts + b.counts
    if a.errors is None or b.errors is None:
        return Above(counts, a.sums + b.sums, None)
    sums, dropped = thresholds.added(a.sums, b.sums)
    return Above(counts, sums, a.errors + b.errors + dropped)


def narrowed(bracket: Bracket, found: Above, xp: Namespace) -> Bracket:
    """Return the bracket of the next round; slices that are done stay as they are."""
    t, counts = bracket.pivots, found.counts
    f = found.sums - bracket.total
    f = f if found.errors is None else f + found.errors
    tangents = t + f / xp.maximum(counts, xp.ones_like(counts))
    low = xp.full_like(t, -math.inf)
    a, b = xp.max(xp.where(f >= 0, t, low), axis=0), xp.min(xp.where(f < 0, t, -low), axis=0)
    near = (counts > 0) & (t >= a) & (t <= b)  # others say less, and round more
    left = xp.max(xp.where(near, tangents, low), axis=0)
    left = xp.where(left > -math.inf, left, t[0, ...])
    right, line, done = _right(bracket, f, counts, left, xp)
    if not bracket.precision.any_order:
        return _confirmed(bracket, found, f, left, right, line, xp)
    opens = bracket.open & ~done
    return _next(bracket, opens, left, right, left, xp)


def _next(
    bracket: Bracket, opens: Array, left: Array, right: Array, answer: Array, xp: Namespace
) -> Bracket:
    """Return the bracket with new ends where it is open, with the answer where it is done."""
    origin, rest = thresholds.added(bracket.origin, left)
    width = xp.maximum(right - left, xp.zeros_like(left))
    steps = int(bracket.pivots.shape[0])
    pivots = [rest + width * (j / (steps - 1)) ** 2 for j in range(steps)]
    return bracket._replace(
        open=opens,
        origin=xp.where(opens, origin, bracket.origin),
        left=xp.where(bracket.open, xp.where(opens, rest, answer), bracket.left),
        pivots=xp.where(opens, xp.stack(pivots), bracket.pivots),
    )


def _confirmed(
    bracket: Bracket,
    found: Above,
    f: Array,
    left: Array,
    right: Array,
    line: Array,
    xp: Namespace,
) -> Bracket:
    """Return the next bracket where the accumulator has no digits to spare.

    Only what was measured at a pivot counts: differences to another number round otherwise. The
    answer is the pivot and a last small step, in two numbers; on a line, a step of an eighth of
    the total is small.
    """
    size = xp.abs(f)
    best = xp.min(size, axis=0)
    share = xp.full_like(best, 8 * bracket.precision.accumulator.roundoff)
    share = xp.where(line, xp.full_like(best, 0.125), share)
    opens = bracket.open & (best > share * bracket.total)
    low = xp.full_like(f, -math.inf)
    near = size <= best
    pivot = xp.max(xp.where(near, bracket.pivots, low), axis=0)
    near = near & (bracket.pivots >= pivot)
    rest, count = (xp.max(xp.where(near, x, low), axis=0) for x in (f, found.counts))
    step = rest / xp.maximum(count, xp.ones_like(count))
    first = xp.equal(bracket.origin, xp.zeros_like(best)) & ~opens & bracket.open
    bracket = bracket._replace(origin=xp.where(first, pivot, bracket.origin))
    answer = xp.where(first, step, pivot + step)
    return _next(bracket, opens, left, right, answer, xp)


def _right(
    bracket: Bracket, f: Array, counts: Array, left: Array, xp: Namespace
) -> tuple[Array, Array, Array]:
    """Return the right end of the next bracket, where f is a line, and what is done."""
    t = bracket.pivots
    infinite = xp.full_like(t, math.inf)
    on_left = f >= 0
    a, b = xp.max(xp.where(on_left, t, -infinite), axis=0), xp.where(on_left, infinite, t)
    b, f_a = xp.min(b, axis=0), xp.min(xp.where(on_left, f, infinite), axis=0)
    f_b = xp.max(xp.where(on_left, -infinite, f), axis=0)
    count_a = xp.min(xp.where(on_left, counts, infinite), axis=0)
    count_b = xp.max(xp.where(on_left, -infinite, counts), axis=0)
    crossed = (a > -math.inf) & (b < math.inf)
    zero = xp.zeros_like(a)
    a, b, f_a, f_b = (xp.where(crossed, x, zero) for x in (a, b, f_a, f_b))
    slope = (f_a - f_b) / xp.where(b > a, b - a, xp.ones_like(a))
    chord = a + f_a / xp.where(slope > 0, slope, xp.ones_like(slope))
    most = bracket.total * bracket.precision.weight.roundoff * 2.0**-18
    line = crossed & xp.equal(count_a, count_b)
    done = line | (crossed & (f_a - (left - a) * slope <= most))
    done = done | (xp.min(xp.abs(f), axis=0) <= most)
    return xp.where(crossed, chord, t[-1, ...]), line, done


def threshold(bracket: Bracket) -> Threshold:
    """Return the thresholds of slices that are done."""
    return Threshold(bracket.origin, bracket.left)


def applied(block: Array, bracket: Bracket, axes: tuple[int, ...], how: Any) -> Array:
    """Return a block projected, its slices by their thresholds; the others as they are."""
    result = bracket.search(axes, how).result(block, threshold(bracket))
    found: Array = how.xp.where(bracket.moves, result, block)
    return found
