"""Constraints on slices, whose tiles are measured, merged, and constrained one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from array_constraints import _arrays
from array_constraints._change import Change, write_changed
from array_constraints._in_memory import InMemory
from array_constraints.files.grid import Column, Forest, Node, Region
from array_constraints.files.run.report import Summary
from array_constraints.files.run.tiles import Parts
from array_constraints.files.run.work import (
    SLICES_OF_PANEL,
    Measures,
    Outcome,
    Pass,
    in_numpy,
    stand_in,
    summary_of,
)


@dataclass(frozen=True)
class SlicesPass(Pass):
    """A constraint on slices through a measure that tiles are asked for apart."""

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        entries = self.entries_of(chunk_bytes)
        whole = 0 if in_order else entries  # panels side by side would not be in order
        for panel, fits in self.grid.panels(whole, SLICES_OF_PANEL):
            yield panel, [panel] if fits else list(self.grid.regions(panel, entries))

    def survey(self, region: Region, block: Any = None) -> Outcome:
        """Return the measures of a region's tiles, merged as far as it goes."""
        parts, forest = self.parts(region, block), self.forest()
        for column, index, part in self.grid.tiles(region):
            forest.add(column, 0, index, self._measure(part, parts.read(part)))
        return Outcome(nodes=forest.left())

    def check(self, region: Region, block: Any = None) -> Outcome:
        measures = self.measures(self.survey(region, block).nodes)
        return Outcome(before=self.summary(measures, region))

    def project(
        self, region: Region, block: Any = None, measures: Measures | None = None
    ) -> Outcome:
        parts = self.parts(region, block, kept=self.result is None)
        if measures is None:
            before, after = self._columns(parts)
            return Outcome(before, after, block=parts.finish(self.durable))
        forest, changes = self.forest(), dict[Column, Any]()
        for column, index, part in self.grid.tiles(region):
            tile, measure = parts.read(part), measures[column]
            if column not in changes:
                changes[column] = self._change(part, measure)
            self._constrain(part, tile, measure, changes[column])
            parts.write(part, tile)
            forest.add(column, 0, index, self._measure(part, tile))
        return Outcome(nodes=forest.left(), block=parts.finish(self.durable))

    def _columns(self, parts: Parts) -> tuple[Summary, Summary]:
        """Measure and constrain the slices of a region, one column of tiles after the other."""
        before = after = Summary()
        columns: dict[Column, list[tuple[int, Region]]] = {}
        for column, index, part in self.grid.tiles(parts.region):
            columns.setdefault(column, []).append((index, part))
        for tiles in columns.values():
            read = [(index, part, parts.read(part)) for index, part in tiles]
            measure, found = self._judged(read)
            change, left = self._change(tiles[0][1], measure), found
            for _, part, tile in read:
                self._constrain(part, tile, measure, change)
                parts.write(part, tile)
            if not isinstance(change, float):
                _, left = self._judged(read)
            before, after = before + found, after + left
        return before, after

    def _judged(self, read: list[tuple[int, Region, Any]]) -> tuple[Any, Summary]:
        """Return the measure of a column of tiles, and the violation of its slices."""
        forest = self.forest()
        for index, part, tile in read:
            forest.add((), 0, index, self._measure(part, tile))
        measure = forest.measures()[()]
        return measure, summary_of(self._form(read[0][1]).excess(measure, in_numpy()))

    def forest(self) -> Forest:
        """Return where the nodes of a panel are merged."""
        return Forest(lambda a, b: self.constraint.merge(a, b, in_numpy()))

    def measures(self, nodes: Sequence[Node]) -> Measures:
        """Return the measures of whole slices from the nodes of all their tiles."""
        forest = self.forest()
        forest.add_all(nodes)
        return forest.measures()

    def summary(self, measures: Measures, panel: Region) -> Summary:
        """Return the violation of the slices of a panel."""
        total, seen = Summary(), set()
        for column, _, part in self.grid.tiles(panel):
            if column not in seen:
                seen.add(column)
                form = self._form(part)
                total += summary_of(form.excess(measures[column], in_numpy()))
        return total

    def _form(self, part: Region) -> Any:
        return self.constraint.for_slices(self.tensor.shape, self.axes, part)

    def _measure(self, part: Region, tile: Any) -> Any:
        import numpy

        tile, form = numpy.asarray(tile, order="C"), self._form(part)
        memory = _at_hand(tile)
        if memory is None:
            return form.measure(tile, self.axes, in_numpy())
        return form.measure_in_memory(tile, self.axes, memory, in_numpy())

    def _change(self, part: Region, measure: Any) -> Change:
        """Return what is done to slices; None where only their form knows."""
        memory = _at_hand(stand_in(self.tensor))
        return None if memory is None else self._form(part).factor(measure, memory, in_numpy())

    def _constrain(self, part: Region, tile: Any, measure: Any, change: Change) -> None:
        """Constrain a tile in place."""
        memory = _at_hand(tile)
        if isinstance(change, float):
            return
        if memory is None:
            tile[...] = self._form(part).apply(tile, measure, in_numpy())
        else:
            write_changed(self._form(part), tile, measure, change, memory, tile, in_numpy())


def _at_hand(tile: Any) -> InMemory | None:
    return _arrays.in_memory(tile, in_numpy()) if tile.ndim else None
