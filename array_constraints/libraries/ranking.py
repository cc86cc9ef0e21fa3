"""How libraries find the largest magnitudes of slices, and count what is there."""

from __future__ import annotations

import math
from typing import Any

from array_constraints.libraries.strided import blocks
from array_constraints.numerics import selection
from array_constraints.numerics.formats import FORMATS
from array_constraints.numerics.selection import Candidates, Census, Key, Selection

_BLOCK = 2**18  # entries


class Ranking:
    """The part of a :class:`Library` that ranks the entries of slices."""

    xp: Any
    at_hand: Any
    bits: Any
    count: Any
    copied: Any
    memory_order: Any
    name_of: Any
    some: Any

    def ranked(self, w: Any) -> Any:
        """Return numbers in the order of magnitudes: the bits without the sign, if known."""
        bits = self.bits(w)
        if bits is None:
            return self.xp.abs(w)
        return bits & (2 ** self._bits_of_magnitude(w) - 1)

    def _bits_of_magnitude(self, w: Any) -> int:
        fmt = FORMATS[self.name_of(w.dtype)]
        return fmt.digits - 1 + fmt.max_exponent.bit_length()

    def _nonzero_and_nan(self, magnitudes: Any, w: Any) -> tuple[Any, Any]:
        """Return which magnitudes are those of no zeros, and of NaN."""
        if magnitudes.dtype == w.dtype:
            return ~(magnitudes == 0), ~self.xp.equal(magnitudes, magnitudes)
        digits, bits = FORMATS[self.name_of(w.dtype)].digits, self._bits_of_magnitude(w)
        infinity = ((1 << (bits + 1 - digits)) - 1) << (digits - 1)
        # Minus one: XLA would take a comparison of bits with 0 for one of floats.
        return magnitudes - 1 >= 0, magnitudes > infinity

    def number_of(self, mask: Any, axes: tuple[int, ...]) -> Any:
        """Return how many entries of each slice are true."""
        found: Any = self.xp.sum(self.xp.astype(mask, self.xp.int64), axis=axes, keepdims=True)
        return found

    def census(self, w: Any, axes: tuple[int, ...], slices: int, counted: bool) -> Census:
        """Return what is in each slice; how often each first digit is where that is asked."""
        magnitudes, bits = self.ranked(w), self._bits_of_magnitude(w)
        nonzero, nan = self._nonzero_and_nan(magnitudes, w)
        digits = None
        if counted:
            shift, length = selection.first_digit(bits, selection.width(slices))
            digits = self._counted(magnitudes >> shift, axes, 2**length)
        entries = self.count(w, axes)
        numbers = self.number_of(nonzero, axes), self.number_of(nan, axes)
        return Census(entries, *numbers, digits, bits, slices)

    def _counted(self, digits: Any, axes: tuple[int, ...], bins: int) -> Any:
        """Return how often each digit is found in each slice, in a last dimension."""
        xp = self.xp
        kept = tuple([1 if i in axes else n for i, n in enumerate(digits.shape)])
        slices = math.prod(kept)
        first = xp.reshape(xp.arange(0, slices * bins, bins, dtype=xp.int64), kept)
        flat = xp.reshape(first + digits, (-1,))
        return xp.reshape(self.binned(flat, slices * bins), (*kept, bins))

    def candidates(
        self, w: Any, places: Any, found: Selection, axes: tuple[int, ...]
    ) -> Candidates:
        """Return the candidates of each slice, or some of them, and their ranks.

        ``places`` has one for each entry of a slice, as a block of one slice.
        """
        xp, magnitudes = self.xp, self.ranked(w)
        reached = found.last.is_reached(magnitudes, places, xp) & found.open
        before = found.first._replace(place=found.first.place + 1)
        kept = before.is_reached(magnitudes, places, xp) & found.open
        inside = reached & ~kept
        way = (*(i for i in range(w.ndim) if i not in axes), *axes)
        place, mask, flat = (
            xp.reshape(xp.permute_dims(x, way), (-1,)) for x in (places, inside, magnitudes)
        )
        at, held = xp.nonzero(mask)[0], self.number_of(inside, axes)
        magnitude = xp.take(flat, at)
        order = xp.argsort(-magnitude, stable=True)  # places are in order already
        if held.size > 1:
            rows = xp.take(at // place.shape[0], order)
            if held.size < 2**15:  # which are sorted by their digits, in a tenth of the time
                rows = xp.astype(rows, xp.int16)
            order = xp.take(order, xp.argsort(rows, stable=True))
        most = min(found.capacity, int(xp.max(held)))
        upto, off = selection.evenly(xp.expand_dims(held, axis=-1), most, xp)
        ends = xp.reshape(xp.cumulative_sum(xp.reshape(held, (-1,))), (*held.shape, 1))
        chosen = xp.reshape(ends - xp.expand_dims(held, axis=-1) + upto - 1, (-1,))
        chosen = xp.take(order, xp.where(chosen < 0, xp.zeros_like(chosen), chosen))
        narrow = xp.int32 if found.entries < 2**31 else xp.int64  # of half the memory
        place = xp.take(xp.astype(place, narrow), xp.take(at, chosen) % place.shape[0])
        key = Key(*(xp.reshape(x, upto.shape) for x in (xp.take(magnitude, chosen), place)))
        before, off = self.number_of(kept, axes), xp.squeeze(off, axis=-1)
        return Candidates(before, key, xp.astype(upto, narrow), off, found.capacity)

    def binned(self, places: Any, bins: int) -> Any:
        """Return how often each place below ``bins`` is found."""
        edges = self.xp.searchsorted(self.xp.sort(places), self.xp.arange(bins + 1))
        return edges[1:] - edges[:-1]

    def kth_largest(self, magnitudes: Any, most: int) -> Any:
        """Return the last of so many largest of each row."""
        n = magnitudes.shape[1]
        return self.xp.sort(magnitudes, axis=1)[:, n - most : n - most + 1]

    def running_number(self, mask: Any) -> Any:
        """Return how many of the entries up to each are true, along rows."""
        return self.xp.cumulative_sum(self.xp.astype(mask, self.xp.int64), axis=1)

    def kept(self, rows: Any, most: int, known: bool = False) -> Any:
        """Return which entries of rows are kept: the largest, and the first of equal ones.

        ``known``: values may be looked at, so as to do no more than is needed; None stands for
        all of them.
        """
        magnitudes = self.ranked(rows)
        nonzero, nan = self._nonzero_and_nan(magnitudes, rows)
        numbers = [self.number_of(mask, (1,)) for mask in (nonzero, nan)]
        moved = selection.moved(Census(rows.shape[1], *numbers), most)
        if known and not self.some(moved):
            return None
        if most == 0:
            return self.xp.broadcast_to(~moved, rows.shape)
        last = self.kth_largest(magnitudes, most)
        above, equal = magnitudes > last, magnitudes == last
        wanted = most - self.number_of(above, (1,))
        if not known or self.some(moved & (self.number_of(equal, (1,)) > wanted)):
            equal = equal & (self.running_number(equal) <= wanted)
        return above | equal | ~moved

    def sparse(self, w: Any, axes: tuple[int, ...], most: int) -> Any:
        """Return ``w`` with zeros for all but so many entries of largest magnitude a slice."""
        n = math.prod([w.shape[i] for i in axes])
        if most >= n:
            return w
        if self.at_hand(w):
            return self._sparse_in_blocks(w, axes, n, most)
        way = (*(i for i in range(w.ndim) if i not in axes), *axes)
        x = self.xp.permute_dims(w, way)
        rows = self.xp.reshape(x, (-1, n))
        found = self.xp.where(self.kept(rows, most), rows, self.xp.zeros_like(rows))
        shaped = self.xp.reshape(found, x.shape)
        return self.xp.permute_dims(shaped, tuple([way.index(i) for i in range(w.ndim)]))

    def _sparse_in_blocks(self, w: Any, axes: tuple[int, ...], n: int, most: int) -> Any:
        """Take blocks of slices; return ``w`` itself where nothing is dropped."""
        order = self.memory_order(w) or tuple(range(w.ndim))
        way = (*(i for i in order if i not in axes), *axes)
        x, out = self.xp.permute_dims(w, way), None
        to: Any = None
        free = x.shape[: w.ndim - len(axes)]
        for place in blocks(free, max(1, _BLOCK // n)):
            rows = self.xp.reshape(x[place], (-1, n))
            kept = self.kept(rows, most, known=True)
            if kept is None:
                continue
            if out is None:
                out = self.copied(w)
                to = self.xp.permute_dims(out, way)
            found = self.xp.where(kept, rows, self.xp.zeros_like(rows))
            to[place] = self.xp.reshape(found, x[place].shape)
        return w if out is None else out
