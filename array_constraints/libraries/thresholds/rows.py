"""Rows of a block at hand: a search in float32 says about where thresholds are."""

from __future__ import annotations

import functools
from typing import Any

from array_constraints.libraries.thresholds.collected import Collected
from array_constraints.numerics import brackets, masses, thresholds
from array_constraints.numerics.masses import Target
from array_constraints.numerics.thresholds import Threshold, by_sorting, ordinary, stepped

_BLOCK = 2**16  # entries of a piece of a long row
_LONGEST = 2**18  # entries of a row that is searched at once
_ROUNDS = 64


class Rows:
    """The search for the thresholds of the rows of a matrix."""

    def __init__(self, how: Any, target: Target, rows: Any) -> None:
        self.how, self.xp, self.library = how, how.xp, how.library
        self.target, self.x, self.n = target, rows, int(rows.shape[1])
        self.precision = self.library.precision(rows)
        self.total = float(masses.aim(target, self.precision))

    def projected(self, moves: Any, largest: Any) -> Any:
        """Return the rows projected; those that do not move as they are."""
        xp, x = self.xp, self.x
        if self.n > _LONGEST:
            return self._in_rounds()
        largest = xp.where(moves, largest, xp.zeros_like(largest))
        if not (self.precision.any_order and ordinary(self.total)):
            found = self._of_all(None, moves, largest)
            return found if bool(xp.all(moves)) else xp.where(moves, found, x)
        narrow, start = self._near(largest)
        found, done = self._of_few(narrow, start, moves, largest)
        if found is None and bool(xp.all(moves)):
            return self._of_all(start, moves, largest)
        found = self.library.copied(x) if found is None else found
        if self.library.some(~moves):
            stay = self.how.found(~moves)
            found[stay] = x[stay]
        if self.library.some(moves & ~done):
            some = self.how.found(moves & ~done)
            others = Rows(self.how, self.target, x[some])
            found[some] = others._of_all(start[some], moves[some], largest[some])
        return found

    def _near(self, largest: Any) -> tuple[Any, Any]:
        """Return offsets and thresholds about right, by a search in float32."""
        xp = self.xp
        narrow = xp.astype(self.x, xp.float32, copy=False)
        if self.target.ball:
            narrow = xp.abs(narrow)
        z = narrow - xp.astype(largest, xp.float32)
        z = xp.maximum(z, xp.full_like(z, -self.total))
        high = xp.astype(self.how.start(z, largest, self.total), xp.float64)
        return z, xp.minimum(high, xp.full_like(high, -self.total / self.n))

    def _of_few(self, narrow: Any, start: Any, moves: Any, largest: Any) -> tuple[Any, Any]:
        """Return rows projected by the entries about their thresholds, and which rows are.

        Those of a row are few, and its threshold is not left of them all. Rounding keeps the
        order: what is above a number in float64 is not below it in float32.
        """
        xp, how, total = self.xp, self.how, self.total
        if not how.few:
            return None, xp.zeros_like(moves)
        lower = xp.maximum(start - total * 2.0**-16, xp.full_like(start, -total))
        above = narrow >= xp.astype(lower, narrow.dtype)
        few = moves & (xp.count_nonzero(above, axis=1, keepdims=True) * how.few <= self.n)
        if not self.library.some(few):
            return None, few
        lower, few, largest = (xp.reshape(a, (-1,)) for a in (lower, few, largest))
        places = how.found(above & few[:, None])
        some = Collected(how, self.x, places, largest, total, self.target.ball, 1)
        few = few & (some.step(lower, total)[0] >= 0)
        out = how.zeros_like(self.x)
        some.write(out, lower, few, total)
        return out, few[:, None]

    def _of_all(self, start: Any, moves: Any, largest: Any) -> Any:
        xp, axes = self.xp, (1,)
        found = thresholds.search_of(largest, self.target, axes, self.precision, self.how)
        z = found.offsets(self.x)
        if start is None:
            t = by_sorting(found, z, xp)
        else:
            t = Threshold(start, xp.zeros_like(start))
        if self.precision.any_order:
            part = self._part(z, t, moves)
        else:
            for last in (False, False, False, True):
                t, _, _ = found.step(z, t, last)
            part = xp.maximum((z - t.high) - t.low, xp.zeros_like(z))
        v = self.how.accumulated(self.x) if self.target.ball else None
        return found.stored(part, v, self.x.dtype)

    def _part(self, z: Any, t: Threshold, moves: Any) -> Any:
        """Return what of each row is above its threshold, once its sum is right.

        A row that is done stays as it is, whatever the others need.
        """
        xp, part = self.xp, None
        for _ in range(_ROUNDS):
            part = self.how.above(z, t, part)
            f = self.how.total(part, (1,)) - self.total
            goes_on = moves & (xp.abs(f) > self.total * 2.0**-42)
            if not self.library.some(goes_on):
                break
            t = stepped(t, f, self.how.counts(part), goes_on, self.total, xp)
        return part

    def _in_rounds(self) -> Any:
        """Return long rows projected, a piece at a time, as they are out of core."""
        rows, how, axes = self.x, self.how, (1,)
        bracket = brackets.started(how.mass(rows, axes, self.target.ball), self.target, how, 4)
        out = self.library.empty_like(rows)
        pieces = [slice(i, i + _BLOCK) for i in range(0, self.n, _BLOCK)]
        for _ in range(_ROUNDS):
            if not self.library.some(bracket.open):
                break
            above = (brackets.above(rows[:, piece], bracket, axes, how) for piece in pieces)
            merged = functools.reduce(brackets.merge, above)
            bracket = brackets.narrowed(bracket, merged, self.xp)
        for piece in pieces:
            out[:, piece] = brackets.applied(rows[:, piece], bracket, axes, how)
        return out
