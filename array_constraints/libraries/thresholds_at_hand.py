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
        total = float(thresholds.aim(target, precision))
        if precision.any_order and precision.weight.digits == 24 and 2.0**-80 < total < 2.0**80:
            if leading and n >= 2 * _SAMPLE:
                x = xp.reshape(xp.permute_dims(w, order), (n, slices))
                kept = [i for i in order if i not in axes]
                flat = self._as_columns(moves, largest, kept, axes, slices)
                out = self._columns(x, *flat, total, target.ball)
                if out is not None:
                    return self._back(out, w, order)
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
        xp, precision = self.xp, self.library.precision(rows)
        if not self.library.some(moves):
            return rows
        largest = xp.where(moves, largest, xp.zeros_like(largest))
        total = xp.ones_like(largest) * thresholds.aim(target, precision)
        scale = None
        if precision.overflows(1):
            total = xp.minimum(total, xp.full_like(total, precision.accumulator.largest))
            scale = thresholds.spare(total, precision, xp)
            total = total * scale
        found = Search(total, scale, largest, (1,), precision, target.ball, self)
        z = found.offsets(rows)
        s = float(thresholds.aim(target, precision))
        if precision.any_order and 2.0**-80 < s < 2.0**80:
            t = self._near(rows, found, s)
        else:
            t = thresholds.by_sorting(found, z, xp)
        t = self._searched(found, z, t, moves)
        v = self.accumulated(rows) if target.ball else None
        part = (z - t.high) - t.low
        part = xp.maximum(part, xp.zeros_like(part))
        part = part if scale is None else part / scale
        if float(thresholds.aim(target, precision)) > precision.weight.largest:
            part = xp.minimum(part, xp.full_like(part, precision.weight.largest))
        if v is not None:
            part = xp.where(v < 0, 0 - part, part)
        part = xp.astype(part, rows.dtype, copy=False)
        return part if bool(xp.all(moves)) else xp.where(moves, part, rows)

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

    def _searched(self, found: Search, z: Any, t: Threshold, moves: Any) -> Threshold:
        xp, count = self.xp, None
        for _ in range(_ROUNDS):
            t, f, after = found.step(z, t)
            below = t.high < -found.target
            t = Threshold(
                xp.where(below, -found.target, t.high), xp.where(below, xp.zeros_like(t.low), t.low)
            )
            near = xp.abs(f) <= found.tolerance * found.target
            done = near & ((f >= 0) | (after == count)) if count is not None else near & (f >= 0)
            count = after
            if bool(xp.all(done | ~moves)):
                break
        return found.step(z, t, True)[0] if found.exact else t

    def _columns(self, x: Any, moves: Any, largest: Any, total: float, ball: bool) -> Any | None:
        """Return the columns of a matrix projected; None where too much is collected."""
        xp = self.xp
        n, slices = x.shape
        largest = xp.where(moves, largest, xp.zeros_like(largest))
        t = self._sampled(x, largest, total, ball)
        for _ in range(3):
            places = self._above(x, largest + t, moves, ball)
            if places is None:
                return None
            columns = places % slices
            v = self.accumulated(xp.take(xp.reshape(x, (-1,)), places))
            z = xp.abs(v) if ball else v
            z = xp.maximum(z - largest[columns], xp.full_like(z, -total))
            bins = columns + (places // (slices * _LONG)) * slices
            state = _Collected(self, bins, columns, slices, -(-n // _LONG))
            f, count = state.step(z, Threshold(t, xp.zeros_like(t)), total)
            right = (f < 0) & moves
            if not self.library.some(right):
                break
            step = xp.maximum(t + f / xp.maximum(count, xp.ones_like(count)), xp.full_like(t, -total))
            t = xp.where(right, step, t)
        else:
            return None
        return self._written(x, moves, places, v, z, state, t, total, ball)

    def _written(
        self,
        x: Any,
        moves: Any,
        places: Any,
        v: Any,
        z: Any,
        state: _Collected,
        start: Any,
        total: float,
        ball: bool,
    ) -> Any:
        """End the search on what was collected, and write what is above the threshold."""
        xp = self.xp
        t = Threshold(start, xp.zeros_like(start))
        before = None
        for _ in range(_ROUNDS):
            f, count = state.step(z, t, total)
            step = f / xp.maximum(count, xp.ones_like(count))
            t = thresholds.added(t.high, t.low + step)
            near = xp.abs(f) <= total * 2.0**-42
            done = near & ((f >= 0) | (count == before)) if before is not None else near & (f >= 0)
            before = count
            if bool(xp.all(done | ~moves)):
                break
        part = (z - t.high[state.columns]) - t.low[state.columns]
        part = xp.maximum(part, xp.zeros_like(part))
        if ball:
            part = xp.where(v < 0, 0 - part, part)
        out = self.zeros_like(x)
        if not bool(xp.all(moves)):
            out[:, ~moves] = x[:, ~moves]
        xp.reshape(out, (-1,))[places] = xp.astype(part, x.dtype)
        return out

    def _sampled(self, x: Any, largest: Any, total: float, ball: bool) -> Any:
        """Return thresholds of a sample, lowered to be left of the root as a rule."""
        xp = self.xp
        part = sample(x, (0,), _SAMPLE)
        assert part is not None  # noqa: S101 - columns are long
        v = self.accumulated(part)
        z = (xp.abs(v) if ball else v) - largest
        z = xp.maximum(z, xp.full_like(z, -total))
        share = total * int(part.shape[0]) / int(x.shape[0])
        t = xp.full_like(largest, -total)
        for _ in range(16):
            d = z - t
            active = d > 0
            count = xp.sum(xp.astype(active, xp.float64), axis=0)
            count = xp.maximum(count, xp.ones_like(count))
            f = xp.sum(xp.where(active, d, xp.zeros_like(d)), axis=0) - share
            t = t + f / count
            if self.library.largest(f) <= 0.01 * share:
                break
        t = t - share * xp.minimum(xp.ones_like(count), 3 / xp.sqrt(count)) / count
        t = xp.minimum(t, xp.full_like(t, -total / int(x.shape[0])))
        return xp.maximum(t, xp.full_like(t, -total))

    def _above(self, x: Any, tau: Any, moves: Any, ball: bool) -> Any | None:
        """Return the places of entries above a number for each column; None if too many."""
        xp = self.xp
        tau = tau - xp.abs(tau) * 2.0**-22
        limit = xp.where(moves, tau, xp.full_like(tau, math.inf))
        limit = xp.astype(limit, x.dtype)
        n, slices = x.shape
        rows, most = max(1, _BLOCK // slices), n * slices // 8
        found, count = [], 0
        for i in range(0, n, rows):
            block = x[i : i + rows]
            places = self.found((xp.abs(block) if ball else block) > limit)
            count += int(places.shape[0])
            if count > most:
                return None
            found.append(places + i * slices)
        return xp.concat(found)


class _Collected:
    """Entries that were collected, by the columns that they are of."""

    def __init__(self, how: Any, bins: Any, columns: Any, slices: int, parts: int) -> None:
        self.how, self.bins, self.columns = how, bins, columns
        self.slices, self.parts = slices, parts

    def step(self, z: Any, t: Threshold, total: float) -> tuple[Any, Any]:
        """Return ``f`` at thresholds, and how many entries are above each."""
        xp, columns = self.how.xp, self.columns
        difference = z - t.high[columns]
        active = difference > t.low[columns]
        part = xp.where(active, difference, xp.zeros_like(difference))
        weight = xp.astype(active, difference.dtype)
        sums, counts = (self._sums(x) for x in (part, weight))
        return (sums - total) - counts * t.low, counts

    def _sums(self, weights: Any) -> Any:
        xp = self.how.xp
        found = self.how.binned(self.bins, weights, self.slices * self.parts)
        return xp.sum(xp.reshape(found, (self.parts, self.slices)), axis=0)


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
