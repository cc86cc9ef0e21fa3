"""Thresholds of arrays at hand: their values say when a search is done, and what is left of it.

Short slices are searched block by block in the caches. Of long ones, and of the columns of a
matrix, a sample says about where the threshold is; what lies above is collected, which is
little as a rule, and the search ends on that alone.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

from array_constraints.libraries.strided import cut
from array_constraints.libraries.thresholds import Thresholds
from array_constraints.numerics import subnormals, thresholds
from array_constraints.numerics.thresholds import Mass, Search, Target, Threshold, sample
from array_constraints.typing import Array

_BLOCK = 2**16  # entries: 512 KiB in float64
_PANEL = 2**20  # entries of slices that are copied to be rows
_LONG = 2**13  # entries of a slice that is searched by a sample, and the terms of one sum
_SAMPLE = 1024
_ROUNDS = 64


class AtHandThresholds(Thresholds):
    """The thresholds of a library whose arrays may be at hand in the memory of the processor."""

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
                part = thresholds.merge(part, other, self.xp)
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
            return w
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
        leading = set(order[: len(axes)]) == set(axes) and list(order[: len(axes)]) == sorted(
            axes, key=order.index
        )
        single = precision.any_order and precision.weight.digits == 24
        if single and ordinary(float(target.total)) and leading and n >= 2 * _SAMPLE:
            x = xp.reshape(xp.permute_dims(w, order), (n, slices))
            kept = [i for i in order if i not in axes]
            flat = self._as_columns(moves, largest, kept, axes, slices)
            return self._back(self._columns(x, *flat, target), w, order)
        return self._panels(w, axes, order, target, moves, largest)

    def _as_columns(
        self, moves: Any, largest: Any, kept: list[int], axes: Any, slices: int
    ) -> tuple[Any, Any]:
        way = tuple(kept) + tuple(axes)
        flat = [self.xp.reshape(self.xp.permute_dims(x, way), (slices,)) for x in (moves, largest)]
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
        if target.ball:
            sums = self._about(w, axes) if precision.weight.digits == 24 else None
            clear = sums is not None and self.library.smallest(sums) > target.total * (1 + 1e-4)
            clear = clear and self.library.largest(sums) < math.inf
        else:
            clear = self.library.largest(smallest) < 0
        if clear and self.library.largest(largest) < math.inf:
            if self.library.smallest(largest) > -math.inf:
                return xp.ones_like(largest, dtype=xp.bool), largest
        mass = self.mass(w, axes, target.ball)
        return thresholds.moved(mass, target, xp), mass.largest

    def _about(self, w: Any, axes: tuple[int, ...]) -> Any:
        """Return sums of magnitudes, right to 1e-4: of 2**8 entries at a time in float32."""
        return self.library.sum_of_magnitudes(w, axes).value

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
        for place in _blocks(tuple(x.shape[: len(kept)]), max(1, _BLOCK // n)):
            part = x[place]
            rows = xp.reshape(part, (-1, n))
            which, top = (xp.reshape(a[place], (-1, 1)) for a in (m, big))
            y[place] = xp.reshape(self._rows(rows, which, top, target), part.shape)
        return out

    def _rows(self, rows: Any, moves: Any, largest: Any, target: Target) -> Any:
        """Return rows projected: those of one block."""
        if not self.library.some(moves):
            return rows
        xp, precision = self.xp, self.library.precision(rows)
        largest = xp.where(moves, largest, xp.zeros_like(largest))
        found = thresholds.search_of(largest, target, (1,), precision, self)
        z = found.offsets(rows)
        total = float(thresholds.aim(target, precision))
        if precision.any_order:
            if ordinary(total):
                t = self._near(rows, found, total)
            else:
                t = thresholds.by_sorting(found, z, xp)
            part = self._part_of_rows(z, t, total, moves)
        else:
            t = thresholds.by_sorting(found, z, xp)
            for last in (False, False, False, True):
                t, _, _ = found.step(z, t, last)
            part = xp.maximum((z - t.high) - t.low, xp.zeros_like(z))
        part = found.stored(part, self.accumulated(rows) if target.ball else None, rows.dtype)
        return part if bool(xp.all(moves)) else xp.where(moves, part, rows)

    def _part_of_rows(self, z: Any, t: Threshold, total: float, moves: Any) -> Any:
        """Return what of each row is above its threshold, once its sum is right.

        A row that is done stays as it is, whatever the others need.
        """
        xp, part = self.xp, None
        for _ in range(_ROUNDS):
            part = self.above(z, t, part)
            f = self.total(part, (1,)) - total
            goes_on = moves & (xp.abs(f) > total * 2.0**-42)
            if not self.library.some(goes_on):
                break
            t = stepped(t, f, self.counts(part), goes_on, total, xp)
        return part

    def _near(self, rows: Any, found: Search, total: float) -> Threshold:
        """Return thresholds about right, by a search in float32."""
        xp = self.xp
        narrow = xp.astype(rows, xp.float32, copy=False)
        if found.ball:
            narrow = xp.abs(narrow)
        z = narrow - xp.astype(found.largest, xp.float32)
        z = xp.maximum(z, xp.full_like(z, -total))
        n = int(rows.shape[1])
        high = xp.astype(self.start(z, found.largest, total), xp.float64)
        high = xp.minimum(high, xp.full_like(high, -total / n))
        return Threshold(high, xp.zeros_like(high))

    def _columns(self, x: Any, moves: Any, largest: Any, target: Target) -> Any:
        """Return the columns of a matrix projected; those of many active entries as rows."""
        xp, precision = self.xp, self.library.precision(x)
        total = float(thresholds.aim(target, precision))
        largest = xp.where(moves, largest, xp.zeros_like(largest))
        t, sparse = self._sampled(x, largest, total, target.ball)
        sparse = sparse & moves
        t, sparse, collected = self._collected(x, largest, t, sparse, total, target.ball)
        out = self.zeros_like(x)
        if not bool(xp.all(sparse)):
            self._write_others(x, out, moves, sparse, largest, target)
        if collected is not None:
            places, part = collected.searched(t, sparse, total)
            if target.ball:
                negative = xp.take(xp.reshape(x, (-1,)), places) < 0
                part = xp.where(negative, 0 - part, part)
            xp.reshape(out, (-1,))[places] = xp.astype(part, x.dtype)
        return out

    def _write_others(
        self, x: Any, out: Any, moves: Any, sparse: Any, largest: Any, target: Target
    ) -> None:
        """Write the columns that stay, and those that are searched as rows."""
        xp = self.xp
        stay = self.found(~moves)
        out[:, stay] = x[:, stay]
        dense = self.found(moves & ~sparse)
        step = max(1, _PANEL // int(x.shape[0]))
        for i in range(0, int(dense.shape[0]), step):
            some = dense[i : i + step]
            rows = self.library.copied(xp.permute_dims(x[:, some], (1, 0)))
            which, top = (xp.reshape(a[some], (-1, 1)) for a in (moves, largest))
            out[:, some] = xp.permute_dims(self._rows(rows, which, top, target), (1, 0))

    def _collected(
        self, x: Any, largest: Any, t: Any, sparse: Any, total: float, ball: bool
    ) -> tuple[Any, Any, Any]:
        """Return thresholds left of the root, and the entries above them.

        Where the sample has led to the right of it, a step leads to the left. A column of which
        an eighth or more is above is not collected.
        """
        xp, (n, slices) = self.xp, x.shape
        for _ in range(3):
            if not self.library.some(sparse):
                return t, sparse, None
            places, sparse = self._above(x, largest + t, sparse, ball)
            found = _Collected(self, x, places, largest, total, ball)
            f, count = found.step(t, total)
            right = (f < -(2.0**-40) * total) & sparse
            if not self.library.some(right):
                return t, sparse, found
            t = xp.where(right, stepped(Threshold(t, 0 * t), f, count, right, total, xp).high, t)
        return t, sparse & ~right, found  # it does not come so far

    def _sampled(self, x: Any, largest: Any, total: float, ball: bool) -> tuple[Any, Any]:
        """Return thresholds of a sample, lowered to be left of the root as a rule.

        And which columns have less than a sixteenth of its entries above.
        """
        xp = self.xp
        part = sample(x, (0,), _SAMPLE)
        assert part is not None  # noqa: S101 - columns are long
        rows, share = int(part.shape[0]), total * int(part.shape[0]) / int(x.shape[0])
        narrow = xp.astype(largest, xp.float32)  # what is about right will do
        z = (xp.abs(part) if ball else part) - narrow
        t, one = xp.full_like(narrow, -total), xp.ones((rows,), dtype=xp.float32)
        for _ in range(_ROUNDS):
            d = xp.maximum(z - t, xp.zeros_like(z))
            count = one @ xp.astype(d > 0, xp.float32)
            f = one @ d - share
            goes_on = f > 0.1 * share
            if not self.library.some(goes_on):
                break
            step = f / xp.maximum(count, xp.ones_like(count))
            t = xp.where(goes_on, t + step, t)
        t, count = (xp.astype(a, xp.float64) for a in (t, count))
        count = xp.maximum(count, xp.ones_like(count))
        high = t - share * xp.minimum(xp.ones_like(count), 3 / xp.sqrt(count)) / count
        high = xp.minimum(high, xp.full_like(high, -total / int(x.shape[0])))
        return xp.maximum(high, xp.full_like(high, -total)), count < rows / 16

    def _above(self, x: Any, tau: Any, sparse: Any, ball: bool) -> tuple[Any, Any]:
        """Return the places of entries above a number for each column, and for which columns.

        They are counted first where they are many.
        """
        xp, (n, slices) = self.xp, x.shape
        tau = tau - xp.abs(tau) * 2.0**-22

        def masks(sparse: Any) -> Any:
            limit = xp.astype(xp.where(sparse, tau, xp.full_like(tau, math.inf)), x.dtype)
            rows = max(1, 2**20 // slices)
            for i in range(0, n, rows):
                block = x[i : i + rows]
                yield i * slices, (xp.abs(block) if ball else block) > limit

        def collect(sparse: Any, most: int) -> Any:
            found, count = [], 0
            for start, mask in masks(sparse):
                found.append(self.found(mask) + start)
                count += int(found[-1].shape[0])
                if count > most:
                    return None
            return xp.concat(found)

        places = collect(sparse, n * slices // 8)
        if places is None:
            counts = sum(xp.sum(mask, axis=0) for _, mask in masks(sparse))
            sparse = sparse & (counts <= n // 8)
            places = collect(sparse, n * slices)
        counts = self.binned(places % slices, None, slices)
        sparse = sparse & (counts <= n // 8)
        return places, sparse


class _Collected:
    """Entries that were collected, relative to the largest of their columns."""

    def __init__(
        self, how: Any, x: Any, places: Any, largest: Any, total: float, ball: bool
    ) -> None:
        xp, (n, slices) = how.xp, x.shape
        self.how, self.slices, self.parts = how, slices, -(-n // _LONG)
        self.places, self.columns = places, places % slices
        v = how.accumulated(xp.take(xp.reshape(x, (-1,)), places))
        z = (xp.abs(v) if ball else v) - xp.take(largest, self.columns)
        self.z = xp.maximum(z, xp.full_like(z, -total))

    def step(self, t: Any, total: float) -> tuple[Any, Any]:
        """Return ``f`` at thresholds, and how many entries are above each: these are kept."""
        xp = self.how.xp
        d = self.z - xp.take(t, self.columns)
        return self._sums(d, d > 0, total)

    def _sums(self, d: Any, active: Any, total: float) -> tuple[Any, Any]:
        xp = self.how.xp
        if not bool(xp.all(active)):
            d = xp.where(active, d, xp.zeros_like(d))
        bins = self.columns + (self.places // (self.slices * _LONG)) * self.slices
        weights = (d, xp.astype(active, d.dtype))
        both = (self.how.binned(bins, x, self.slices * self.parts) for x in weights)
        sums, counts = (xp.sum(xp.reshape(x, (self.parts, -1)), axis=0) for x in both)
        return sums - total, counts

    def searched(self, start: Any, sparse: Any, total: float) -> tuple[Any, Any]:
        """Return the places of what is above the threshold, and by how much.

        What has fallen below is dropped: thresholds rise.
        """
        xp, how = self.how.xp, self.how
        if not bool(xp.all(sparse)):
            self._keep(xp.take(sparse, self.columns))
        t = Threshold(start, xp.zeros_like(start))
        for _ in range(_ROUNDS):
            d = (self.z - xp.take(t.high, self.columns)) - xp.take(t.low, self.columns)
            active = d > 0
            f, count = self._sums(d, active, total)
            goes_on = sparse & (xp.abs(f) > total * 2.0**-42)
            if not how.library.some(goes_on):
                break
            if self._few(active):
                self._keep(active | xp.take(f < 0, self.columns))
            t = stepped(t, f, count, goes_on, total, xp)
        return self.places, xp.maximum(d, xp.zeros_like(d))

    def _few(self, active: Any) -> bool:
        return 4 * int(self.how.xp.sum(active)) < 3 * int(active.shape[0])

    def _keep(self, mask: Any) -> None:
        self.z, self.places, self.columns = self.z[mask], self.places[mask], self.columns[mask]


def ordinary(total: float) -> bool:
    """Whether a search in float32 can reach the total."""
    return 2.0**-80 < total < 2.0**80


def stepped(t: Threshold, f: Any, count: Any, where: Any, total: float, xp: Any) -> Threshold:
    """Return thresholds after a step of Newton's where it is asked for, not below -total."""
    step = f / xp.maximum(count, xp.ones_like(count))
    after = thresholds.added(t.high, t.low + xp.where(where, step, xp.zeros_like(step)))
    below = after.high < -total
    lowest = xp.full_like(after.high, -total)
    return Threshold(
        xp.where(below, lowest, after.high), xp.where(below, xp.zeros_like(lowest), after.low)
    )


def _arrays(mass: Mass) -> list[Any]:
    found = mass.sum
    return [mass.smallest, mass.largest, found.scale, found.value, found.rounding_error]


def _blocks(shape: tuple[int, ...], most: int) -> Any:
    """Yield parts of at most so many slices, along the dimensions that number them."""
    if not shape:
        yield ()
        return
    inner = math.prod(shape[1:])
    if inner > most:
        for i in range(shape[0]):
            for rest in _blocks(shape[1:], most):
                yield (slice(i, i + 1), *rest)
        return
    step = max(1, most // max(inner, 1))
    for i in range(0, shape[0], step):
        yield (slice(i, i + step),)
