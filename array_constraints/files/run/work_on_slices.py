"""The work of constraints on slices, whose tiles are measured, merged, and constrained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from array_constraints import libraries
from array_constraints.executors import rounds
from array_constraints.executors.change import Change
from array_constraints.executors.grid import Column, Forest, Node, Region
from array_constraints.files.run.report import Summary
from array_constraints.files.run.tiles import RegionTiles
from array_constraints.files.run.work import (
    SLICES_OF_PANEL,
    Decided,
    Forms,
    Measures,
    Outcome,
    TensorWork,
    numpy_namespace,
    summary_of,
)


@dataclass(frozen=True)
class SlicesWork(TensorWork):
    """The work of a constraint on slices: tiles are measured, then constrained."""

    @property
    def rounds(self) -> int:
        return 1 if self._at_once else int(self.constraint.rounds)

    @property
    def _at_once(self) -> bool:
        """Whether slices are projected without rounds: where tiles have whole ones, always."""
        several = self.constraint.rounds > 1 and self.constraint._project_at_once is not None
        return several and self.grid.has_whole_slices

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        entries = self.entries_of(chunk_bytes)
        whole = 0 if in_order else entries  # panels side by side would not be in order
        most = SLICES_OF_PANEL if self.rounds == 1 else SLICES_OF_PANEL // 128
        for panel, fits in self.grid.panels(whole, most):
            yield panel, [panel] if fits else list(self.grid.regions(panel, entries))

    def survey(self, region: Region, block: Any = None, forms: Forms | None = None) -> Outcome:
        """Return the measures of a region's tiles, merged where both siblings are in it.

        In a further round, those of the columns that have a form for it.
        """
        tiles, forest = self.tiles(region, block), self.forest(forms)
        for column, index, place in self.grid.tiles(region):
            if forms is None:
                forest.add(column, 0, index, self._measure(place, tiles.read(place)))
            elif column in forms:
                measure = self._measure(place, tiles.read(place), forms[column])
                forest.add(column, 0, index, measure)
        return Outcome(nodes=forest.left())

    def is_measured(self, region: Region, forms: Forms) -> bool:
        """Whether a further round measures any slice of a region."""
        return any(column in forms for column, _, _ in self.grid.tiles(region))

    def following(self, measures: Measures, forms: Forms, panel: Region) -> Forms:
        """Return the forms of the next round, for the columns that need one."""
        found: Forms = {}
        if self.rounds == 1:
            return found
        for column, _, place in self.grid.tiles(panel):
            if column in measures and column not in found:
                form = forms[column] if column in forms else self._form(place)
                following = form.next(measures[column], numpy_namespace())
                if following is not None:
                    found[column] = following
        return found

    def check(self, region: Region, block: Any = None) -> Outcome:
        measures = self.measures(self.survey(region, block).nodes)
        return Outcome(before=self.summary(measures, region))

    def project(
        self, region: Region, block: Any = None, decided: Decided | None = None
    ) -> Outcome:
        tiles = self.tiles(region, block, kept=self.result is None)
        if decided is None:
            before, after = self._columns(tiles)
            return Outcome(before, after, block=tiles.finish(self.durable))
        (measures, forms), changes = decided, dict[Column, Change]()
        forest = self.forest()
        for column, index, place in self.grid.tiles(region):
            tile, form = tiles.read(place), forms.get(column)
            if column not in changes:
                changes[column] = self._change(self._form(place, form), measures[column])
            self._constrain(place, tile, changes[column], form)
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
            first = self._form(column[0][1])

            def measured(form: Any, read: Any = read) -> Any:
                nodes = ((i, self._measure(place, tile, form)) for i, place, tile in read)
                return self._whole(form, nodes)

            form, last = first, measure
            if self.rounds > 1:
                form, last = rounds.last(first, measure, measured, numpy_namespace())
            change, left = self._change(form, last), found
            for _, place, tile in read:
                self._constrain(place, tile, change, None if form is first else form)
                tiles.write(place, tile)
            if not change.nothing:
                _, left = self._measured(read)
            before, after = before + found, after + left
        return before, after

    def _measured(self, read: list[tuple[int, Region, Any]]) -> tuple[Any, Summary]:
        """Return the measure of a column of tiles, and the violation of its slices."""
        nodes = ((index, self._measure(place, tile)) for index, place, tile in read)
        measure = self._whole(self.constraint, nodes)
        return measure, self._summary(measure, read[0][1])

    def _whole(self, form: Any, nodes: Iterator[tuple[int, Any]]) -> Any:
        """Return the measure of a column from those of its tiles."""
        forest = _forest(form)
        for index, measure in nodes:
            forest.add((), 0, index, measure)
        return forest.measures()[()]

    def forest(self, forms: Forms | None = None) -> Forest:
        """Return an empty forest, in which the nodes of a panel are merged.

        In a further round, its forms are all of one class.
        """
        return _forest(next(iter(forms.values())) if forms else self.constraint)

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

    def _form(self, place: Region, form: Any = None) -> Any:
        """Return the form for a place: of a further round, or of the first."""
        whole = self.constraint if form is None else form
        return whole.for_part(self.tensor.shape, self.axes, place)

    def _measure(self, place: Region, tile: Any, form: Any = None) -> Any:
        import numpy

        block = numpy.asarray(tile, order="C")
        return self._form(place, form).measure(block, self.axes, numpy_namespace())

    def _change(self, form: Any, measure: Any) -> Change:
        """Return the change of the slices of a column of tiles."""
        return Change.of(form, measure, libraries.of_namespace(numpy_namespace()))

    def _constrain(self, place: Region, tile: Any, change: Change, form: Any) -> None:
        """Constrain a tile in place, under the form of a further round if there was one."""
        if change.nothing:
            return
        own = self._form(place, form)
        if self._at_once:
            tile[...] = own._project_at_once(tile, self.axes, numpy_namespace())
        else:
            change.onto(own, tile, tile, self.axes)


def _forest(form: Any) -> Forest:
    return Forest(lambda a, b: form.merge(a, b, numpy_namespace()))
