"""The work of constraints on each entry alone, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from array_constraints.executors import grid, whole
from array_constraints.executors.grid import Region
from array_constraints.executors.needs import is_alike_everywhere
from array_constraints.files.options import COUNTED
from array_constraints.files.run.report import Summary
from array_constraints.files.run.work import (
    Decided,
    Outcome,
    TensorWork,
    numpy_namespace,
    summary_of,
)


class EntriesWork(TensorWork):
    """The work of a constraint on each entry alone."""

    def check(self, region: Region, block: Any = None) -> Outcome:
        tiles, before = self.tiles(region, block), Summary()
        for _, _, place in self.grid.tiles(region):
            read = tiles.read(place)
            if self.detail != COUNTED:
                excess = whole.violation(self._form(place), read, numpy_namespace())
                before += summary_of(excess, place, (), self.detail)
                continue
            for form, tile in self._parts(place, read):
                before += _summary(form, tile)
        return Outcome(before)

    def project(
        self, region: Region, block: Any = None, decided: Decided | None = None
    ) -> Outcome:
        tiles = self.tiles(region, block, kept=self.result is None)
        before = after = Summary()
        for _, _, place in self.grid.tiles(region):
            read = tiles.read(place)
            for form, tile in self._parts(place, read):
                found = left = _summary(form, tile)
                if found.violating:
                    tile[...] = form.project(tile, numpy_namespace())
                    left = _summary(form, tile)
                before, after = before + found, after + left
            tiles.write(place, read)
        return Outcome(before, after, block=tiles.finish(self.durable))

    def _form(self, place: Region) -> Any:
        return self.constraint.for_part(self.tensor.shape, (), place)

    def _parts(self, place: Region, read: Any) -> Iterator[tuple[Any, Any]]:
        """Return views of a tile that stay in the caches, each with the form for it."""
        if is_alike_everywhere(self.constraint, read.ndim):
            yield from ((self.constraint, tile) for tile in _flat(read))
            return
        form, groups = self._form(place), self.constraint.groups(read.ndim)
        every = tuple(range(read.ndim))
        cut = grid.Grid(read.shape, every, None, every, grid.ENTRIES_OF_TILE // 4, groups)
        for _, parts in cut.columns():
            yield from ((form.for_part(read.shape, (), part), read[part]) for part in parts)


def _summary(form: Any, tile: Any) -> Summary:
    xp = numpy_namespace()
    if not (xp.any(form.outside(tile, xp)) or xp.any(xp.isnan(tile))):
        return Summary(tile.size)
    return summary_of(whole.violation(form, tile, xp), (), ())


def _flat(whole: Any) -> Iterator[Any]:
    """Return views of an array, in any order of its entries, that stay in the caches."""
    if whole.flags.f_contiguous:
        whole = whole.T
    rows = [whole.reshape(-1)] if whole.flags.c_contiguous else whole
    for row in rows:
        if row.ndim > 1:
            yield from _flat(row)
            continue
        for start in range(0, row.size, grid.ENTRIES_OF_TILE // 4):
            yield row[start : start + grid.ENTRIES_OF_TILE // 4]
