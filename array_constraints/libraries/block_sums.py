"""Arrays at hand in memory: their values may be read, and they are summed up block by block.

Values decide whether partial sums in the weight's own format are good enough for a slice.
"""

from __future__ import annotations

import functools
import itertools
import math
from abc import abstractmethod
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from array_constraints.libraries.base import Library
from array_constraints.libraries.strided import cut
from array_constraints.numerics import subnormals
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.margins import most_terms, tree_depth
from array_constraints.numerics.partial_sums import exact_sum, partial_sums
from array_constraints.numerics.sums import Sum, merge
from array_constraints.typing import Array

sparing: ContextVar[bool] = ContextVar("sparing", default=False)
"""Whether sums hold less than their blocks, even where that takes longer: for copy=False."""


class AtHand(Library):
    """A library whose arrays may be at hand in the memory of the processor."""

    partial_from: int
    """Entries of a block from which partial sums are faster than sums in float64."""

    # What a subclass does fastest in its own way.

    @abstractmethod
    def memory_order(self, w: Any) -> tuple[int, ...] | None:
        """Return dimensions from the longest stride to the shortest; None if they are so."""

    @abstractmethod
    def empty_like(self, w: Any) -> Any:
        """Return a new array with the shape, dtype and memory order of ``w``."""

    @abstractmethod
    def multiply(self, w: Any, factor: Any, out: Any) -> None:
        """Write ``w`` times a factor, which may be wider, into ``out``, which may be ``w``.

        Each product is computed in the wider dtype, then rounded to that of ``w``.
        """

    def product(self, w: Any, factor: Any) -> Any:
        if factor.dtype == w.dtype:
            return w * factor
        out = self.empty_like(w)
        self.multiply(w, factor, out)
        return out

    @abstractmethod
    def multiply_each(self, arrays: list[Any], factors: list[Any]) -> list[Any]:
        """Return arrays times factors, pair by pair, as new arrays."""

    @abstractmethod
    def kind_of(self, w: Any) -> Any:
        """Return what can change of an array that is kept: its dtype, shape, memory."""

    def multiply_in_place(self, arrays: list[Any], factors: list[Any]) -> None:
        """Multiply arrays by factors of the same dtype, pair by pair, in place."""
        for w, factor in zip(arrays, factors, strict=True):
            w *= factor

    def apart(self, x: Any, shapes: list[tuple[int, ...]]) -> list[Any]:
        """Return arrays of those shapes, which are parts of one of one dimension."""
        ends = itertools.accumulate(map(math.prod, shapes))
        return [
            self.xp.reshape(x[end - math.prod(shape) : end], shape)
            for end, shape in zip(ends, shapes, strict=True)
        ]

    @abstractmethod
    def rows_with_any(self, x: Any) -> list[bool]:
        """Return which indices of the first dimension have anything that is true."""

    @abstractmethod
    def _sum_wide(self, x: Any, axes: tuple[int, ...], power: int) -> Any:
        """Return sums of powers in float64, dimensions kept, of a small block."""

    @abstractmethod
    def _sum_wide_each(self, arrays: list[Any], axes: tuple[int, ...], power: int) -> Any:
        """Return the same of each of many small blocks that are alike, stacked."""

    @abstractmethod
    def _add_middle(self, x: Any) -> Any:
        """Return the sums, in float64, of three dimensions over the second."""

    @abstractmethod
    def _add_in_parts(self, x: Any, power: int, wide: Any) -> Any:
        """Return sums of powers, in the dtype ``wide``, of three dimensions over the second.

        In parts where what is made for them would leave the caches, or be as large as a block
        whose memory is spared.
        """

    @abstractmethod
    def _add_entries(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Return the sums of entries in float64, dimensions kept."""

    def some(self, mask: Any) -> bool:
        """Return whether any entry is true."""
        return bool(self.xp.any(mask))

    def negative_at_hand(self, w: Any) -> Any:
        """Return which entries are less than zero, for ``zero_negative``; None if none is."""
        negative = self.negative(w)
        return negative if self.some(negative) else None

    def zero_negative(self, w: Any, negative: Any) -> None:
        """Write zeros over what is less than zero, which are ``negative``; the rest is kept.

        Multiply the bits by 0 or 1, for which the mask is inverted in place.
        """
        bits = self.bits(w)
        bits *= self.xp.logical_not(negative, out=negative)

    def zeroed(self, w: Any, mask: Any) -> Any:
        """Return ``w`` with zeros where a mask is true, the other bits as they are."""
        return (self.bits(w) * ~mask).view(w.dtype)

    def sparingly(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function so that its sums hold less than their blocks."""
        token = sparing.set(True)
        try:
            return function(*arguments)
        finally:
            sparing.reset(token)

    # Sums of blocks of at most 2**21 entries.

    def sum(self, x: Array, axes: tuple[int, ...]) -> Array:
        if not (self.at_hand(x) and self.precision(x).any_order):
            return super().sum(x, axes)
        found: Array = self.quietly(self._add_entries, x, axes)
        return found

    def bound_sum(
        self, power: int, w: Any, axes: tuple[int, ...]
    ) -> Callable[[Any], Any] | None:
        """Return the function that sums powers of arrays at hand like ``w``, if one pass does.

        What follows from dtype, shape and axes is found once: at 64 entries that is half of
        the time.
        """
        if not self._is_one_pass(w, axes):
            return None
        return functools.partial(self._sum_wide, axes=axes, power=power)

    def sums_of_each(self, power: int, arrays: list[Any], axes: tuple[int, ...]) -> Any:
        """Return the sums of arrays that are alike, stacked; None if a pass is not enough.

        Each is made in the way that it is made alone: no bit of it is another.
        """
        if not self._is_one_pass(arrays[0], axes):
            return None
        return self._sum_wide_each(arrays, axes, power)

    def are_rows(self, w: Any, axes: tuple[int, ...]) -> bool:
        """Whether slices are rows, and these are summed in a way of their own."""
        return False

    def bound_sums(
        self, power: int, arrays: list[Any], axes: list[tuple[int, ...]]
    ) -> Callable[[], Any]:
        """Return a function of the sums of arrays that are kept, as one of one dimension.

        Each is made in the way that it is made alone, in place: no bit of it is another.
        """
        pairs = list(zip(arrays, axes, strict=True))

        def joined() -> Any:
            sums = [self.sparingly(self._sum_wide, w, along, power) for w, along in pairs]
            return self.xp.concat([self.xp.reshape(x, (-1,)) for x in sums])

        return joined

    def _is_one_pass(self, w: Any, axes: tuple[int, ...]) -> bool:
        """Whether a block is widened, being so small that this is fastest."""
        return self.precision(w).any_order and math.prod(w.shape) < self.partial_from

    def _sum_of_powers(
        self, x: Array, axes: tuple[int, ...], power: int, in_any_order: bool = False
    ) -> Sum:
        if in_any_order or not self.at_hand(x) or subnormals.flushed():
            return super()._sum_of_powers(x, axes, power, in_any_order)
        precision = self.precision(x)
        if self._is_one_pass(x, axes):
            value = self._sum_wide(x, axes, power)
            return Sum(self.count(x, axes), None, value, None, precision, power)
        order = self.memory_order(x)
        if order is None:
            return self._quiet_sum(x, axes, power, precision)
        within = tuple(sorted(order.index(i) for i in axes))
        x = self.xp.permute_dims(x, order)
        return self._put_back(self._quiet_sum(x, within, power, precision), order)

    def _put_back(self, found: Sum, order: tuple[int, ...]) -> Sum:
        """Return sums with their dimensions as they were before they had that order."""
        back = tuple(order.index(i) for i in range(len(order)))
        parts: Any = (found.scale, found.value, found.rounding_error)
        parts = [None if x is None else self.xp.permute_dims(x, back) for x in parts]
        scale, value, error = parts
        return found._replace(scale=scale, value=value, rounding_error=error)

    def _quiet_sum(
        self, x: Array, axes: tuple[int, ...], power: int, precision: Precision
    ) -> Sum:
        """Sum where terms may leave the range: that is found out, and not to be reported."""
        found: Sum = self.quietly(self._sum_in_order, x, axes, power, precision)
        return found

    def _sum_in_order(
        self, x: Array, axes: tuple[int, ...], power: int, precision: Precision
    ) -> Sum:
        """Return the sums of a block whose dimensions are in the order of memory."""
        found = self._sum_in_parts(x, axes, power, precision)
        inside = self._inside(found)
        return found if inside is None else self._summed_again(found, inside, x, axes)

    def _summed_again(self, found: Sum, inside: Array, x: Array, axes: tuple[int, ...]) -> Sum:
        """Return the sums, those of slices that are not inside summed with care.

        In pieces of the block that depend on its shape alone, and only those with such slices:
        one slice of zeros is no reason to widen all others. They are so small that what is
        made of one takes less than half of the block.
        """
        xp, careful = self.xp, found
        if not found.precision.any_order:
            careful = found._replace(scale=xp.ones_like(found.value))
        for panel, tiles in cut(x.shape, axes):
            place = tuple([slice(None) if i in axes else p for i, p in enumerate(panel)])
            kept = inside[place]
            if bool(xp.all(kept)):
                continue
            sums = (self._careful_sum(x[tile], axes, found) for tile in tiles)
            again = functools.reduce(lambda a, b: merge(a, b, xp), sums)
            for name in ("scale", "value", "rounding_error"):
                array = getattr(careful, name)
                if array is not None:
                    array[place] = xp.where(kept, array[place], getattr(again, name))
        return careful

    def _careful_sum(self, x: Array, axes: tuple[int, ...], found: Sum) -> Sum:
        """Return sums of which no term leaves the range."""
        if not found.precision.any_order:
            return super()._sum_of_powers(x, axes, found.power)
        value = self._sum_wide(x, axes, found.power)
        return found._replace(entries=self.count(x, axes), value=value)

    def _inside(self, found: Sum) -> Array | None:
        """Return for which slices no term has left the range; None for all of them."""
        precision, value = found.precision, found.value
        if not precision.overflows(found.power, precision.partial):
            return None
        entries: Any = found.entries
        least, most = (2.0**-96, math.inf) if precision.any_order else (2.0**-900, 2.0**900)
        least = least * entries if found.power == 2 else 0.0
        if self.smallest(value) >= least and self.largest(value) < most:
            return None
        inside: Array = (value >= least) & (value < most)
        return inside

    def _sum_in_parts(
        self, x: Array, axes: tuple[int, ...], power: int, precision: Precision
    ) -> Sum:
        """Return the sums; they are not valid where a term has left the range.

        A few terms at a time are added up without widening them, so few that a norm is still
        within L/2 + 1.5 roundoffs: half a roundoff for each term, 1 for a root that is not
        wider.
        """
        entries: Any = self.count(x, axes)
        terms = most_terms(precision, tree_depth(entries, self.xp))
        shape = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
        wide = self.xp.float32 if precision.any_order else x.dtype
        add = functools.partial(self._add_in_parts, power=power, wide=wide)
        sums: list[Sum] = []
        for part in partial_sums(x, axes, terms, add, self.xp):
            if precision.any_order:
                value, error = self._add_middle(part), None
            else:
                value, error = exact_sum(part, self._add_middle, self.xp)
            sums.append(Sum(0, None, value, error, precision, power))
        found = functools.reduce(lambda a, b: merge(a, b, self.xp), sums)
        value, error = found.value, found.rounding_error
        if value.shape != shape:
            value = self.xp.reshape(value, shape)
            error = None if error is None else self.xp.reshape(error, shape)
        return Sum(entries, None, value, error, precision, power)
