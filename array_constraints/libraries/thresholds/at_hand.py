"""Thresholds of arrays at hand: their values say when a search is done, and what is left of it.

Slices are searched block by block in the caches. Of long columns of a matrix, and long slices
in one piece, a sample says about where the threshold is; what lies above is collected, which is
little as a rule, and the search ends on that alone: see ``columns.py``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

from array_constraints.libraries.strided import blocks, cut
from array_constraints.libraries.thresholds.columns import SAMPLE, Columns
from array_constraints.libraries.thresholds.expression import Thresholds
from array_constraints.libraries.thresholds.rows import Rows
from array_constraints.numerics import masses, subnormals
from array_constraints.numerics.masses import Mass, Target
from array_constraints.numerics.thresholds import Threshold, ordinary
from array_constraints.typing import Array

_BLOCK = 2**16  # entries: 512 KiB in float64


class AtHandThresholds(Thresholds):
    """The thresholds of a library whose arrays may be at hand in memory."""

    library: Any
    few: int = 0
    """What part of rows is collected at most: an eighth, for 8. Never, for 0."""

    @abstractmethod
    def found(self, mask: Any) -> Any:
        """Return the places of what is true in an array, as if it had one dimension."""

    @abstractmethod
    def binned(self, places: Any, weights: Any, bins: int) -> Any:
        """Return the sums of weights of equal places, or how many there are without weights."""

    @abstractmethod
    def start(self, v: Any, largest: Any, total: float) -> Any:
        """Return about where the thresholds of rows in float32 are, relative to the largest."""

    @abstractmethod
    def above(self, z: Any, t: Threshold, out: Any) -> Any:
        """Return what of each entry is above the threshold of its row; ``out`` may be used."""

    @abstractmethod
    def counts(self, part: Any) -> Any:
        """Return how many entries of each row are positive, in float64."""

    def as_it_is(self, w: Any) -> Any:
        """Return an array of which all is kept."""
        return w

    @abstractmethod
    def zeros_like(self, w: Any) -> Any:
        """Return an array of zeros."""

    def mass(self, w: Array, axes: tuple[int, ...], ball: bool) -> Mass:
        """Return the mass of each slice, tile by tile where the array is at hand."""
        if math.prod(w.shape) <= _BLOCK or not self.library.at_hand(w):
            return super().mass(w, axes, ball)
        made: Any = None
        for panel, tiles in cut(w.shape, axes):
            parts = [super(AtHandThresholds, self).mass(w[tile], axes, ball) for tile in tiles]
            part = parts[0]
            for other in parts[1:]:
                part = masses.merge(part, other, self.xp)
            if made is None:
                shape = tuple([1 if i in axes else n for i, n in enumerate(w.shape)])
                made = [None if x is None else self._full(shape, x) for x in _arrays(part)]
            place = tuple([slice(None) if i in axes else p for i, p in enumerate(panel)])
            for array, x in zip(made, _arrays(part), strict=True):
                if x is not None:
                    array[place] = x
        smallest, largest, scale, value, error = made
        whole = part.sum._replace(
            entries=self.library.count(w, axes), scale=scale, value=value, rounding_error=error
        )
        return Mass(smallest, largest, whole)

    def _full(self, shape: tuple[int, ...], like: Any) -> Any:
        return self.xp.empty(shape, dtype=like.dtype, device=self.library.device(like))

    def projected(self, w: Array, axes: tuple[int, ...], target: Target) -> Array:
        at_hand = self.library.at_hand(w) and isinstance(target.total, int | float)
        if not at_hand or subnormals.flushed():
            return super().projected(w, axes, target)
        moves, largest = self._moves(w, axes, target)
        if not self.library.some(moves):
            kept: Array = self.as_it_is(w)
            return kept
        order: Any = self.library.memory_order(w) or tuple(range(w.ndim))
        found: Array = self._projected(w, axes, order, target, moves, largest)
        return found

    def _projected(
        self, w: Any, axes: Any, order: Any, target: Target, moves: Any, largest: Any
    ) -> Any:
        """Choose by how slices lie in memory: columns, long rows, or rows after a copy."""
        xp, precision = self.xp, self.library.precision(w)
        n = math.prod([w.shape[i] for i in axes])
        slices = math.prod(w.shape) // n
        leading = set(order[: len(axes)]) == set(axes)
        single = precision.any_order and precision.weight.digits == 24
        if single and ordinary(float(target.total)) and leading and n >= 2 * SAMPLE:
            x = xp.reshape(xp.permute_dims(w, order), (n, slices))
            kept = [i for i in order if i not in axes]
            flat = self._as_columns(moves, largest, kept, axes, slices)
            columns = Columns(self, target, float(masses.aim(target, precision)))
            return self._back(columns.projected(x, *flat), w, order)
        return self._panels(w, axes, order, target, moves, largest)

    def _as_columns(
        self, moves: Any, largest: Any, kept: list[int], axes: Any, slices: int
    ) -> tuple[Any, Any]:
        way = tuple(kept) + tuple(axes)
        flat = [
            self.xp.reshape(self.xp.permute_dims(x, way), (slices,)) for x in (moves, largest)
        ]
        return flat[0], flat[1]

    def _back(self, out: Any, w: Any, order: tuple[int, ...]) -> Any:
        shaped = self.xp.reshape(out, tuple([w.shape[i] for i in order]))
        back = tuple([order.index(i) for i in range(w.ndim)])
        return self.xp.permute_dims(shaped, back)

    def _moves(self, w: Any, axes: tuple[int, ...], target: Target) -> tuple[Any, Any]:
        """Return which slices move, and their largest entry in float64.

        The sums are looked at where the rest does not say: where no entry is below 0, or the
        magnitudes sum to about the radius or less.
        """
        xp, precision = self.xp, self.library.precision(w)
        smallest = xp.min(w, axis=axes, keepdims=True)
        largest = xp.max(w, axis=axes, keepdims=True)
        smallest, largest = self.accumulated(smallest), self.accumulated(largest)
        if target.ball:
            largest = xp.maximum(largest, -smallest)
            clear = precision.weight.digits == 24 and self._outside(w, axes, target.total)
        else:
            clear = self.library.largest(smallest) < 0
        clear = clear and self.library.largest(largest) < math.inf
        if clear and self.library.smallest(largest) > -math.inf:
            return xp.ones_like(largest, dtype=xp.bool), largest
        mass = self.mass(w, axes, target.ball)
        return masses.moved(mass, target, xp), mass.largest

    def _outside(self, w: Any, axes: tuple[int, ...], radius: float) -> bool:
        """Whether each slice is outside the ball: a quarter of it says so, or all of it.

        Sums of magnitudes are right to 1e-4: of 2**8 entries at a time in float32.
        """
        along = max(axes, key=lambda i: w.shape[i], default=0)
        quarter = (*[slice(None)] * along, slice(-(-w.shape[along] // 4))) if axes else ()
        for part in (w[quarter], w):
            sums = self.library.sum_of_magnitudes(part, axes).value
            if self.library.smallest(sums) > radius * (1 + 1e-4):
                return bool(self.library.largest(sums) < math.inf)
        return False

    def _panels(
        self, w: Any, axes: Any, order: Any, target: Target, moves: Any, largest: Any
    ) -> Any:
        """Project slices as rows, a block of whole slices at a time."""
        xp = self.xp
        out = self.library.empty_like(w)
        kept = [i for i in order if i not in axes]
        inner = [i for i in order if i in axes]
        way = tuple(kept + inner)
        n = math.prod([w.shape[i] for i in axes])
        x, y, m, big = (xp.permute_dims(a, way) for a in (w, out, moves, largest))
        for place in blocks(tuple(x.shape[: len(kept)]), max(1, _BLOCK // n)):
            part = x[place]
            rows = xp.reshape(part, (-1, n))
            which, top = (xp.reshape(a[place], (-1, 1)) for a in (m, big))
            y[place] = xp.reshape(self.rows(rows, which, top, target), part.shape)
        return out

    def rows(self, rows: Any, moves: Any, largest: Any, target: Target) -> Any:
        """Return rows projected: those of one block."""
        if not self.library.some(moves):
            return rows
        return Rows(self, target, rows).projected(moves, largest)


def _arrays(mass: Mass) -> list[Any]:
    found = mass.sum
    return [mass.smallest, mass.largest, found.scale, found.value, found.rounding_error]
