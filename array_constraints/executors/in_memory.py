"""Run a form in blocks of an array at hand, which stay in the caches, into a destination."""

from __future__ import annotations

import functools
import math
from typing import Any

from array_constraints import parameters
from array_constraints.executors import rounds, whole
from array_constraints.executors.change import (
    ENTRIES_OF_PIECE,
    Change,
    Changes,
    entries_of_piece,
)
from array_constraints.executors.grid import Grid, Region
from array_constraints.libraries.strided import blocks
from array_constraints.typing import Array


def run(form: Any, w: Array, copy: bool | None, library: Any) -> Any:
    """Return the allowed weight: ``w``, or a new array; ``copy=False`` writes into ``w``."""
    if form.needs == "entries":
        return _run_on_entries(form, w, copy, library)
    if form.needs == "regions" and copy is False and form._project_in_place is not None:
        form._project_in_place(w, library.xp)
        return w
    if form.needs == "slices":
        return _run_on_whole_slices(form, w, copy, library)
    if form.needs == "regions":
        return whole.project(form, w, library.xp)
    if _is_done_at_once(form):
        return form._project_at_once(w, parameters.axes_of(form, w), library.xp)
    most = entries_of_block(w, library)
    if most is None:
        return _run_on_one_block(form, w, copy, library)
    return _run_on_slices(form, w, copy, library, most)


def violation(form: Any, w: Array, library: Any) -> Any:
    """Return how far entries or slices are from what is allowed, measured as ``run`` does."""
    by_blocks = form.needs in ("measures", "sizes") and not _is_done_at_once(form)
    most = entries_of_block(w, library) if by_blocks else None
    if most is None:
        return whole.violation(form, w, library.xp)
    axes, xp = parameters.axes_of(form, w), library.xp
    shape = tuple([1 if i in axes else n for i, n in enumerate(w.shape)])
    result: Any = None
    for panel, tiles in _grid(w, axes, most, library).columns():
        part = form.for_part(w.shape, axes, panel)
        excess = part.excess(_measure(form, w, tiles, axes, xp), xp)
        if result is None:
            result = xp.ones(shape, dtype=excess.dtype, device=library.device(w))
        result[_of_slices(panel, axes)] = excess
    return result


def _is_done_at_once(form: Any) -> bool:
    return form.needs == "measures" and form._project_at_once is not None


def entries_of_block(w: Array, library: Any) -> int | None:
    """Return how many entries a block has; None for an array that is one block.

    Arrays of up to 2**21 entries (2**15 if they are not C-contiguous, 2**17 of a half type,
    which is widened) are one block. Larger ones: 1/16 of the array, but at least 2**18 entries
    to make up for about 30 calls a block, and at most 2**20 to stay in the caches. Of a half
    type, a quarter of that.
    """
    entries = math.prod(w.shape)
    half = library.precision(w).weight.digits < 24
    in_order = library.memory_order(w) is None
    if entries <= 2**15 or (in_order and entries <= (2**17 if half else 2**21)):
        return None
    least, share = (2**16, 64) if half else (2**18, 16)
    return min(max(entries // share, least), 2**20)


def _grid(
    w: Array,
    axes: tuple[int, ...],
    most: int,
    library: Any,
    groups: tuple[int, ...] | None = None,
) -> Grid:
    order = library.memory_order(w) or tuple(range(w.ndim))
    return Grid(tuple(w.shape), axes, None, order, most, groups)


def _measure(form: Any, w: Array, tiles: list[Region], axes: tuple[int, ...], xp: Any) -> Any:
    """Return the measure of the same slices in all tiles, each with the form for it."""
    parts = ((form.for_part(w.shape, axes, tile), w[tile]) for tile in tiles)
    measures = (part.measure(block, axes, xp) for part, block in parts)
    return functools.reduce(lambda a, b: form.merge(a, b, xp), measures)


def _of_slices(panel: Region, axes: tuple[int, ...]) -> Region:
    """Return where the slices of a panel are in an array with one entry for each slice."""
    return tuple([slice(None) if i in axes else part for i, part in enumerate(panel)])


def _run_on_one_block(form: Any, w: Array, copy: bool | None, library: Any) -> Any:
    axes = parameters.axes_of(form, w)

    def measure(form: Any) -> Any:
        return measured(form, w, axes, copy, library)

    form, found = rounds.last(form, measure(form), measure, library.xp)
    return changed(Change.of(form, found, library), form, w, axes, copy)


def measured(form: Any, w: Any, axes: tuple[int, ...], copy: bool | None, library: Any) -> Any:
    """Return the measure of ``w`` as one block; in place, its sums hold less than it."""
    if copy is False:
        return library.sparingly(form.measure, w, axes, library.xp)
    return form.measure(w, axes, library.xp)


def changed(change: Change, form: Any, w: Any, axes: tuple[int, ...], copy: bool | None) -> Any:
    """Return ``w`` changed as one block: in place where ``copy`` is False."""
    if copy is not False or change.nothing:
        return change.made(form, w, axes)
    change.onto(form, w, w, axes, entries_of_piece(w))
    return w


def _run_on_slices(form: Any, w: Array, copy: bool | None, library: Any, most: int) -> Any:
    """Measure the slices of a panel block by block, then write what changes."""
    axes, xp = parameters.axes_of(form, w), library.xp
    out, changes = Destination(w, copy, axes, library), Changes(library)
    at_once = entries_of_piece(w) if copy is False else ENTRIES_OF_PIECE
    for panel, tiles in _grid(w, axes, most, library).columns():
        first = form.for_part(w.shape, axes, panel)

        def measure(part: Any, tiles: list[Region] = tiles) -> Any:
            return _measure(part, w, tiles, axes, xp)

        found = _measure(form, w, tiles, axes, xp)
        chosen, found = rounds.last(first, found, measure, xp)
        change = changes.of(chosen, found)
        factor = change.product(w)
        if change.nothing:
            out.keep(panel)
        elif out.long and factor is not None:
            out.multiply(panel, factor)
        else:
            for tile in tiles:
                part = (form if chosen is first else chosen).for_part(w.shape, axes, tile)
                change.onto(part, w[tile], out.at(tile), axes, at_once)
    return out.result()


def _run_on_whole_slices(form: Any, w: Array, copy: bool | None, library: Any) -> Any:
    """Project some slices at a time: a form may hold several times as much as they are."""
    axes = parameters.axes_of(form, w)
    slices = parameters.number_of_slices(w.shape, axes)
    entries = math.prod(w.shape)
    if entries <= ENTRIES_OF_PIECE or slices == 1 or not library.at_hand(w):
        return whole.project(form, w, library.xp)
    out, free = Destination(w, copy, axes, library), [i for i in range(w.ndim) if i not in axes]
    most = max(1, ENTRIES_OF_PIECE * slices // entries)
    for part in blocks(tuple([w.shape[i] for i in free]), most):
        cuts = dict(zip(free, part, strict=False))
        panel = tuple([cuts.get(i, slice(None)) for i in range(w.ndim)])
        own = form.for_part(w.shape, axes, panel)
        out.at(panel)[...] = whole.project(own, w[panel], library.xp)
    return out.result()


def _run_on_entries(form: Any, w: Array, copy: bool | None, library: Any) -> Any:
    """Write the blocks in which an entry changes."""
    xp, entries = library.xp, math.prod(w.shape)
    write = form._project_in_place if copy is False else None
    if entries <= _entries_at_once(w, copy, write):
        outside = form._outside_at_hand(w, xp)
        if outside is None:
            return w
        if write is None:
            return form._project_known(w, outside, xp)
        write(w, outside, xp)
        return w
    most = ENTRIES_OF_PIECE
    if write is not None:
        most = min(entries // 4, most)
    elif copy is False:
        most = entries_of_piece(w) // 2  # some four arrays in float64: half of the weight
    out = Destination(w, copy, (), library)
    every, groups = tuple(range(w.ndim)), form.groups(w.ndim)
    for _, tiles in _grid(w, every, most, library, groups).columns():
        for tile in tiles:
            part = form.for_part(w.shape, (), tile)
            outside = part._outside_at_hand(w[tile], xp)
            if outside is None:
                out.keep(tile)
            elif write is None:
                out.at(tile)[...] = part._project_known(w[tile], outside, xp)
            else:
                part._project_in_place(w[tile], outside, xp)
    return out.result()


def _entries_at_once(w: Array, copy: bool | None, write: Any) -> int:
    """Return up to which size an array is one block for a constraint on its entries.

    2**21 entries; in place less, so that what is made is less than the array from 256 KiB on: a
    form makes several arrays in float64, and a mask has one byte for each entry.
    """
    if copy is not False:
        return 2**21
    itemsize: int = w.dtype.itemsize
    if write is None:
        return 2**17 // itemsize
    return 2**21 if itemsize > 2 else 2**17


class Destination:
    """Where a run in blocks writes: nothing while nothing changes, a new array, or ``w``."""

    def __init__(self, w: Any, copy: bool | None, axes: tuple[int, ...], library: Any) -> None:
        self.w, self.axes, self.library = w, axes, library
        self.long = 64 * self._slices <= math.prod(w.shape)
        """Whether slices are so long that a factor for each takes 2 % of the weight at most."""
        self.written: Any = w if copy is False else None
        self.factors: Any = None
        self.multiplied: list[Region] = []
        self.kept: list[Region] = []

    @property
    def _slices(self) -> int:
        return parameters.number_of_slices(self.w.shape, self.axes)

    def keep(self, region: Region) -> None:
        """Take over a region as it is."""
        if self.written is None:
            self.kept.append(region)
        elif self.written is not self.w:
            self.written[region] = self.w[region]

    def at(self, region: Region) -> Any:
        """Return the region to write into."""
        if self.written is None:
            self.written = self.library.empty_like(self.w)
            for kept in self.kept:
                self.written[kept] = self.w[kept]
        return self.written[region]

    def multiply(self, panel: Region, factor: Any) -> None:
        """Take over a panel times a factor, in the end: one call for all panels is faster."""
        if self.factors is None:
            shape = tuple([1 if i in self.axes else n for i, n in enumerate(self.w.shape)])
            device = self.library.device(self.w)
            self.factors = self.library.xp.ones(shape, dtype=factor.dtype, device=device)
        self.factors[_of_slices(panel, self.axes)] = factor
        self.multiplied.append(panel)

    def result(self) -> Any:
        """Return what was written; ``w`` if nothing was."""
        if self.written is None and self.multiplied and not self.kept:
            self.written = self.w * self.factors
        else:
            for panel in self.multiplied:
                factor = self.factors[_of_slices(panel, self.axes)]
                self.library.multiply(self.w[panel], factor, self.at(panel))
        return self.w if self.written is None else self.written
