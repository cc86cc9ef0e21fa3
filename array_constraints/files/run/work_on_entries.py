"""The work of constraints on each entry alone, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from array_constraints.executors import grid, whole
from array_constraints.executors.grid import Region
from array_constraints.files.options import COUNTED
from array_constraints.files.run.report import Summary
from array_constraints.files.run.work import (
    Measures,
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
                excess = whole.violation(self.constraint, read, numpy_namespace())
                before += summary_of(excess, place, (), self.detail)
                continue
            for tile in _flat(read):
                before += self._summary(tile)
        return Outcome(before)

    def project(
        self, region: Region, block: Any = None, measures: Measures | None = None
    ) -> Outcome:
        tiles = self.tiles(region, block, kept=self.result is None)
        before = after = Summary()
        for _, _, place in self.grid.tiles(region):
            read = tiles.read(place)
            for tile in _flat(read):
                found = left = self._summary(tile)
                if found.violating:
                    tile[...] = self.constraint.project(tile, numpy_namespace())
                    left = self._summary(tile)
                before, after = before + found, after + left
            tiles.write(place, read)
        return Outcome(before, after, block=tiles.finish(self.durable))

    def _summary(self, tile: Any) -> Summary:
        xp = numpy_namespace()
        if not (xp.any(self.constraint.outside(tile, xp)) or xp.any(xp.isnan(tile))):
            return Summary(tile.size)
        return summary_of(whole.violation(self.constraint, tile, xp), (), ())


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
