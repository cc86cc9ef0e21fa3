"""Changes of the slices of a block, as their measure asks: none, a factor each, or ``apply``.

This is decided once for all blocks of the same slices, from the values of their measure; in
memory, in files and in the chunks of a Dask array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from array_constraints.numerics import subnormals
from array_constraints.numerics.rescaling import (
    Size,
    Sizes,
    beyond,
    powered,
    rescaled,
    sizes_of,
)
from array_constraints.typing import Array

ENTRIES_OF_PIECE = 2**18  # 2 MiB in float64


def entries_of_piece(w: Any) -> int:
    """Return how many entries of a weight in one block are changed at a time, in place.

    At most 2**18, so that what is made for them stays in the caches; so few that two arrays of
    them in float64 take half of the weight; and at least 2**13, to make up for some ten calls.
    """
    entries: int = math.prod(w.shape) * w.dtype.itemsize // 32
    return min(max(entries, 2**13), ENTRIES_OF_PIECE)


_ORDINARY = 2.0**80
"""Sizes up to that, and from its inverse on, are rescaled by one factor in any format."""


class Change:
    """A change of the slices of a block: kept, multiplied, or handed to ``form.apply``."""

    __slots__ = ("_applied", "_factor", "_library", "_others", "nothing")

    def __init__(
        self,
        library: Any,
        applied: Callable[[Any, Array], Any] | None = None,
        factor: Array | None = None,
        others: Array | None = None,
        nothing: bool = False,
    ) -> None:
        self._library = library
        self._applied = applied  # by the form of a piece, to it: what apply makes of it
        self._factor = factor
        self._others = others  # slices that apply is asked for; None: all, without a factor
        self.nothing = nothing  # all slices are kept

    @classmethod
    def of(cls, form: Any, measure: Any, library: Any) -> Change:
        """Return what ``measure`` does to the slices that it is of, under ``form``."""
        return Changes(library).of(form, measure)

    def product(self, block: Array) -> Array | None:
        """Return the factors, if all slices are multiplied, and in the dtype of ``block``."""
        factor = self._factor
        if factor is None or self._others is not None or factor.dtype != block.dtype:
            return None
        return factor

    def made(self, form: Any, block: Array, axes: tuple[int, ...]) -> Any:
        """Return the changed block as a new array, or the block itself where all are kept.

        ``form`` is the one for the block: see ``Form.for_part``.
        """
        if self.nothing:
            return block
        if self._factor is not None and self._others is None:
            return self._library.product(block, self._factor)
        if math.prod(block.shape) <= ENTRIES_OF_PIECE:
            return self._changed(form, block)
        out = self._library.empty_like(block)
        self.onto(form, block, out, axes)
        return out

    def onto(
        self,
        form: Any,
        block: Array,
        out: Any,
        axes: tuple[int, ...],
        most: int = ENTRIES_OF_PIECE,
    ) -> None:
        """Write the changed block into ``out``, which may be the block itself.

        Where that takes more than a product, ``most`` entries at a time.
        """
        if self._factor is not None and self._others is None:
            self._library.multiply(block, self._factor, out)
            return
        for piece in _pieces(block.shape, axes, most):
            part = form.for_part(block.shape, axes, piece)
            out[piece] = self._changed(part, block[piece])

    @property
    def factor(self) -> Array | None:
        """One factor for each slice, exactly 1 where it is kept; None: not multiplied."""
        return self._factor

    def apart(self) -> list[bool]:
        """Return which rows of a stack have a slice that ``apply`` is asked for."""
        if self._others is None:
            return []
        found: list[bool] = self._library.rows_with_any(self._others)
        return found

    def _changed(self, form: Any, block: Array) -> Any:
        assert self._applied is not None  # noqa: S101 - else all are multiplied, or kept
        applied = self._applied(form, block)
        if self._others is None:
            return applied
        rest = block if self._factor is None else self._library.product(block, self._factor)
        return self._library.xp.where(self._others, applied, rest)


class Changes:
    """The changes of an array's panels; what all have in common, 25 us, is found once."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._rescaler: Rescaler | None = None

    def of(self, form: Any, measure: Any) -> Change:
        """Return what ``measure`` does to the slices of a panel, under their form."""
        if form.needs != "sizes":
            return _applied(form, measure, self._library)
        known = self._rescaler
        if known is None or known.form is not form or not known.numbers:
            known = self._rescaler = Rescaler(form, measure, self._library)
        return known.change(measure)


class Rescaler:
    """The change of slices under a form with sizes: what is known before a value is read.

    It serves all arrays at hand whose slices have as many entries of the same format.
    """

    def __init__(self, form: Any, measure: Any, library: Any) -> None:
        self.form, self.library = form, library
        found: Sizes = sizes_of(form, measure, library)
        self.found, inner, power = found, found.limits, found.size.power
        self.entries: Any = measure.entries if found.size.is_mean else 1
        """What a sum is divided by to be a size."""
        unscaled = found.size._replace(scale=None)
        self.least, self.most = (
            powered(limit, unscaled, found.precision, library.xp)
            for limit in (inner.lower, inner.upper)
        )
        self.numbers = isinstance(self.least, float) and isinstance(self.most, float)
        self.bounded, self.rate = found.bounded_below, float(found.interval.rate)
        self.near, self.far = _ORDINARY**-power, _ORDINARY**power
        bounds = found.interval[:2] if self.bounded else found.interval[1:2]
        self.ordinary: Any = True
        for bound in bounds:
            self.ordinary = self.ordinary & self._is_ordinary(bound)
        """Whether no product with a factor can leave the range: bounds within 2**40 of 1."""
        # A target is infinite where no slice moves: any number makes the same factors of 1.
        self.upper_target, self.lower_target = (
            library.number(min(target, 2.0**1000)) if isinstance(target, float) else target
            for target in (inner.upper_target, inner.lower_target)
        )
        targets = inner.upper_target, inner.lower_target
        self.two_targets = self.bounded and not (self.numbers and targets[0] == targets[1])

    @staticmethod
    def _is_ordinary(bound: Any) -> Any:
        """Whether a bound is within 2**40 of 1, or infinite; of an array, which ones."""
        if isinstance(bound, float):
            return bound == math.inf or 2.0**-40 <= bound <= 2.0**40
        return ((bound >= 2.0**-40) & (bound <= 2.0**40)) | (bound == math.inf)

    def change(self, measure: Any) -> Change:
        """Return the change of slices of that measure."""
        size = self.form.size(measure, self.library.xp)
        if isinstance(size, Size):
            return self.change_of(size.value, size.scale)
        return self.change_of(size, None)

    def change_of_sum(self, total: Any) -> Change:
        """Return the change of slices whose sum of magnitudes, or squares, is ``total``."""
        return self.change_of(total if self.entries == 1 else total / self.entries, None)

    def change_of(self, value: Any, scale: Any) -> Change:
        """Return the change of slices whose size, scaled and to its power, is ``value``."""
        if self.rate == 0:
            return NOTHING
        if not self.numbers or scale is not None:
            return self._careful(value, scale)
        largest = self.library.largest(value)
        smallest = self.library.smallest(value) if self.bounded else math.inf
        if largest <= self.most and smallest >= self.least:
            return NOTHING
        plain = self.ordinary and self.near <= smallest and largest <= self.far
        if not plain or subnormals.flushed():
            return self._careful(value, scale)
        moved = value > self.most
        if self.bounded:
            moved = moved | (value < self.least)
        return Change(self.library, factor=self._factor(value, moved))

    def _factor(self, value: Array, moved: Array) -> Array:
        """Return exactly 1 where a slice is kept."""
        library, xp, found = self.library, self.library.xp, self.found
        size = value if found.size.power == 1 else xp.sqrt(value)
        goal = self.upper_target
        if self.two_targets:
            goal = library.where(value > self.most, self.upper_target, self.lower_target)
        if not self.numbers:  # some may be infinite, where nothing moves
            goal = library.where(moved, goal, xp.ones_like(size))
        factor: Array = goal / library.where(moved, size, goal)
        if self.rate != 1:
            factor = library.where(moved, factor * self.rate + (1 - self.rate), factor)
        return xp.astype(factor, xp.float32) if found.precision.any_order else factor

    def _careful(self, value: Any, scale: Any) -> Change:
        """Return the change where slices of some sizes need more than a product."""
        size, xp = Size(value, scale, self.found.size.power), self.library.xp
        above, below = beyond(self.found._replace(size=size))
        moved: Any = (above | below) & (value > 0) & (value < math.inf)
        if not bool(xp.any(moved)):
            return NOTHING
        library, found = self.library, self.found._replace(size=size)

        def applied(form: Any, block: Array) -> Any:
            return rescaled(block, found, library)

        if self.ordinary is False:
            return Change(library, applied)
        plain = moved & (value >= self.near) & (value <= self.far)
        if self.ordinary is not True:
            plain = plain & self.ordinary
        if scale is not None:
            plain = plain & xp.equal(scale, xp.ones_like(value))
        # What is kept is multiplied by 1: that would change a NaN, and subnormal numbers where
        # the processor takes them for zeros.
        nan = ~xp.equal(value, value)
        others = ~plain if subnormals.flushed() else (moved & ~plain) | nan
        factor = self._factor(xp.where(plain, value, xp.ones_like(value)), plain)
        return Change(library, applied, factor, others if bool(xp.any(others)) else None)


def _applied(form: Any, measure: Any, library: Any) -> Change:
    """Return the change of slices whose excess says no more than whether they are kept."""
    xp = library.xp
    excess = form.excess(measure, xp)
    allowed = xp.equal(excess, xp.zeros_like(excess))
    if bool(xp.all(allowed)):
        return NOTHING

    def applied(form: Any, block: Array) -> Any:
        return form.apply(block, measure, xp)

    return Change(library, applied, None, ~allowed if bool(xp.any(allowed)) else None)


def _pieces(
    shape: tuple[int, ...], axes: tuple[int, ...], most: int
) -> Iterator[tuple[slice, ...]]:
    """Cut a block along one of the axes of its slices, in pieces that stay in the caches."""
    entries, whole = math.prod(shape), tuple([slice(0, n) for n in shape])
    long = [i for i in axes if shape[i] > 1]
    if entries <= most or not long:
        yield whole
        return
    along = long[0]
    length = shape[along]
    step = max(1, length * most // entries)
    for start in range(0, length, step):
        part = slice(start, min(start + step, length))
        yield (*whole[:along], part, *whole[along + 1 :])


NOTHING = Change(None, nothing=True)
"""The change of slices that are all kept."""
