"""The work of constraints on slices, whose tiles are measured, merged, and constrained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from array_constraints import libraries
from array_constraints.executors.change import Change
from array_constraints.executors.grid import Column, Forest, Node, Region
from array_constraints.files.run.report import Summary
from array_constraints.files.run.tiles import RegionTiles
from array_constraints.files.run.work import (
    SLICES_OF_PANEL,
    Measures,
    Outcome,
    TensorWork,
    numpy_namespace,
    summary_of,
)


@dataclass(frozen=True)
class SlicesWork(TensorWork):
    """The work of a constraint on slices: tiles are measured, then constrained."""

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        entries = self.entries_of(chunk_bytes)
        whole = 0 if in_order else entries  # panels side by side would not be in order
        for panel, fits in self.grid.panels(whole, SLICES_OF_PANEL):
            yield panel, [panel] if fits else list(self.grid.regions(panel, entries))

    def survey(self, region: Region, block: Any = None) -> Outcome:
        """Return the measures of a region's tiles, merged where both siblings are in it."""
        tiles, forest = self.tiles(region, block), self.forest()
        for column, index, place in self.grid.tiles(region):
            forest.add(column, 0, index, self._measure(place, tiles.read(place)))
        return Outcome(nodes=forest.left())

    def check(self, region: Region, block: Any = None) -> Outcome:
        measures = self.measures(self.survey(region, block).nodes)
        return Outcome(before=self.summary(measures, region))

    def project(
        self, region: Region, block: Any = None, measures: Measures | None = None
    ) -> Outcome:
        tiles = self.tiles(region, block, kept=self.result is None)
        if measures is None:
            before, after = self._columns(tiles)
            return Outcome(before, after, block=tiles.finish(self.durable))
        forest, changes = self.forest(), dict[Column, Change]()
        for column, index, place in self.grid.tiles(region):
            tile, measure = tiles.read(place), measures[column]
            if column not in changes:
                changes[column] = self._change(place, measure)
            self._constrain(place, tile, changes[column])
            tiles.write(place, tile)
            forest.add(column, 0, index, self._measure(place, tile))
        return Outcome(nodes=forest.left(), block=tiles.finish(self.durable))

    def _columns(self, tiles: RegionTiles) -> tuple[Summary, Summary]:
        """Measure and constrain the slices of a region, one column of tiles after the other."""
        before = after = Summary()
        columns: dict[Column, list[tuple[int, Region]]] = {}
        for key, index, place in self.grid.tiles(tiles.region):
            columns.setdefault(key, []).append((index, place))
        for column in columns.values():
            read = [(index, place, tiles.read(place)) for index, place in column]
            measure, found = self._measured(read)
            change, left = self._change(column[0][1], measure), found
            for _, place, tile in read:
                self._constrain(place, tile, change)
                tiles.write(place, tile)
            if not change.nothing:
                _, left = self._measured(read)
            before, after = before + found, after + left
        return before, after

    def _measured(self, read: list[tuple[int, Region, Any]]) -> tuple[Any, Summary]:
        """Return the measure of a column of tiles, and the violation of its slices."""
        forest = self.forest()
        for index, place, tile in read:
            forest.add((), 0, index, self._measure(place, tile))
        measure = forest.measures()[()]
        return measure, self._summary(measure, read[0][1])

    def forest(self) -> Forest:
        """Return an empty forest, in which the nodes of a panel are merged."""
        return Forest(lambda a, b: self.constraint.merge(a, b, numpy_namespace()))

    def measures(self, nodes: Sequence[Node]) -> Measures:
        """Return the measures of whole slices from the nodes of all their tiles."""
        forest = self.forest()
        forest.add_all(nodes)
        return forest.measures()

    def summary(self, measures: Measures, panel: Region) -> Summary:
        """Return the violation of the slices of a panel."""
        total, seen = Summary(), set()
        for column, _, place in self.grid.tiles(panel):
            if column not in seen:
                seen.add(column)
                total += self._summary(measures[column], place)
        return total

    def _summary(self, measure: Any, place: Region) -> Summary:
        """Return the violation of the slices of a column of tiles, the first one's place."""
        excess = self._form(place).excess(measure, numpy_namespace())
        return summary_of(excess, place, self.axes, self.detail)

    def _form(self, place: Region) -> Any:
        return self.constraint.for_part(self.tensor.shape, self.axes, place)

    def _measure(self, place: Region, tile: Any) -> Any:
        import numpy

        tile = numpy.asarray(tile, order="C")
        return self._form(place).measure(tile, self.axes, numpy_namespace())

    def _change(self, place: Region, measure: Any) -> Change:
        """Return the change of the slices of a column of tiles."""
        library = libraries.of_namespace(numpy_namespace())
        return Change.of(self._form(place), measure, library)

    def _constrain(self, place: Region, tile: Any, change: Change) -> None:
        """Constrain a tile in place."""
        if not change.nothing:
            change.onto(self._form(place), tile, tile, self.axes)
