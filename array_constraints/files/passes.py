"""What is done with one region of a tensor, for each form of a constraint.

A :class:`Pass` is a value, sent to whichever thread or process has to do it: it reads a region,
measures or constrains it, and writes it. The mathematics is all that of the form.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from array_constraints import _arrays, execution
from array_constraints._in_memory import InMemory
from array_constraints.constraint import Constraint, Elementwise, Form, Slicewise, WholeSlice
from array_constraints.files.grid import (
    ENTRIES_OF_TILE,
    Column,
    Forest,
    Grid,
    Node,
    Region,
)
from array_constraints.files.parts import Parts
from array_constraints.files.report import Summary
from array_constraints.files.stored import Tensor, numpy_dtype

SLICES_OF_PANEL = 2**18
"""Slices that are measured at a time, where they do not fit whole: their norms take 2 MiB."""

Measures = dict[Column, Any]


class Outcome(NamedTuple):
    """What came of a region: summaries, or nodes for them; and what is still to be written."""

    before: Summary = Summary()
    after: Summary = Summary()
    nodes: Sequence[Node] = ()
    block: Any = None


@dataclass(frozen=True)
class Pass(ABC):
    """One constraint on one tensor of a file."""

    constraint: Any
    tensor: Tensor
    result: Tensor | None = None
    """Where results are written by whoever makes them; None if only the caller can."""
    durable: bool = False
    """Whether results have to be on the disk before they are reported."""

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """The dimensions that a slice runs along; none if each entry is on its own."""
        return ()

    @cached_property
    def grid(self) -> Grid:
        """How the tensor is cut."""
        tensor = self.tensor
        return Grid(tensor.shape, self.axes, tensor.chunks, tensor.order)

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        """Return the panels of the tensor and their regions; one of one region is read once."""
        if not self.tensor.entries:
            return
        entries = max(1, chunk_bytes // self.tensor.itemsize)
        for panel, _ in self.grid.panels(entries, SLICES_OF_PANEL):
            yield panel, [panel]

    @abstractmethod
    def check(self, region: Region, block: Any = None) -> Outcome:
        """Return the violation of a region of whole slices."""

    @abstractmethod
    def project(
        self, region: Region, block: Any = None, measures: Measures | None = None
    ) -> Outcome:
        """Constrain a region, and write it."""

    def parts(self, region: Region, given: Any, kept: bool = False) -> Parts:
        """Return the parts of a region, whose block may be given."""
        return Parts(self.tensor, self.result, region, given, kept)

    def bytes_of(self, region: Region) -> int:
        """Return the bytes of a region, uncompressed."""
        entries: int = math.prod([p.stop - p.start for p in region])
        return entries * self.tensor.itemsize


def _at_hand(tile: Any) -> InMemory | None:
    return _arrays.in_memory(tile, _numpy()) if tile.ndim else None


def _summary(excess: Any) -> Summary:
    import numpy

    violating = int(numpy.count_nonzero(excess))  # NaN counts, too
    largest = float(excess.max(initial=0.0)) if violating else 0.0
    return Summary(excess.size, violating, largest)


class EntriesPass(Pass):
    """A constraint on each entry alone."""

    def check(self, region: Region, block: Any = None) -> Outcome:
        parts, before = self.parts(region, block), Summary()
        for _, _, part in self.grid.tiles(region):
            for tile in _flat(parts.read(part)):
                before += self._judged(tile)
        return Outcome(before)

    def project(
        self, region: Region, block: Any = None, measures: Measures | None = None
    ) -> Outcome:
        parts = self.parts(region, block, kept=self.result is None)
        before = after = Summary()
        for _, _, part in self.grid.tiles(region):
            whole = parts.read(part)
            for tile in _flat(whole):
                found = left = self._judged(tile)
                if found.violating:
                    tile[...] = self.constraint.project(tile, _numpy())
                    left = self._judged(tile)
                before, after = before + found, after + left
            parts.write(part, whole)
        return Outcome(before, after, block=parts.finish(self.durable))

    def _judged(self, tile: Any) -> Summary:
        xp = _numpy()
        if self.constraint.satisfied(tile, xp) and not xp.any(xp.isnan(tile)):
            return Summary(tile.size)
        return _summary(self.constraint.whole_violation(tile, xp))


def _flat(whole: Any) -> Iterator[Any]:
    """Return views of an array, in any order of its entries, that stay in the caches."""
    if whole.flags.f_contiguous:
        whole = whole.T
    rows = [whole.reshape(-1)] if whole.flags.c_contiguous else whole
    for row in rows:
        if row.ndim > 1:
            yield from _flat(row)
            continue
        for start in range(0, row.size, ENTRIES_OF_TILE // 4):
            yield row[start : start + ENTRIES_OF_TILE // 4]


@dataclass(frozen=True)
class SlicesPass(Pass):
    """A constraint on slices through a measure that tiles are asked for apart."""

    @cached_property
    def axes(self) -> tuple[int, ...]:
        axes: tuple[int, ...] = self.constraint.axes(_stand_in(self.tensor))
        return axes

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        if not self.tensor.entries:
            return
        entries = max(1, chunk_bytes // self.tensor.itemsize)
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
        forest = self.forest()
        for column, index, part in self.grid.tiles(region):
            tile, factor = parts.read(part), self._factor(part, measures[column])
            self._constrain(part, tile, measures[column], factor)
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
            factor, left = self._factor(tiles[0][1], measure), found
            for _, part, tile in read:
                self._constrain(part, tile, measure, factor)
                parts.write(part, tile)
            if not isinstance(factor, float):
                _, left = self._judged(read)
            before, after = before + found, after + left
        return before, after

    def _judged(self, read: list[tuple[int, Region, Any]]) -> tuple[Any, Summary]:
        """Return the measure of a column of tiles, and the violation of its slices."""
        forest = self.forest()
        for index, part, tile in read:
            forest.add((), 0, index, self._measure(part, tile))
        measure = forest.measures()[()]
        return measure, _summary(self._form(read[0][1]).excess(measure, _numpy()))

    def forest(self) -> Forest:
        """Return where the nodes of a panel are merged."""
        return Forest(lambda a, b: self.constraint.merge(a, b, _numpy()))

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
                total += _summary(form.excess(measures[column], _numpy()))
        return total

    def _form(self, part: Region) -> Any:
        return self.constraint.for_slices(self.tensor.shape, self.axes, part)

    def _measure(self, part: Region, tile: Any) -> Any:
        import numpy

        tile, form = numpy.asarray(tile, order="C"), self._form(part)
        memory = _at_hand(tile)
        if memory is None:
            return form.measure(tile, self.axes, _numpy())
        return form.measure_in_memory(tile, self.axes, memory, _numpy())

    def _factor(self, part: Region, measure: Any) -> Any:
        """Return what slices are multiplied by; None where that is not all of it."""
        memory = _at_hand(_stand_in(self.tensor))
        return None if memory is None else self._form(part).factor(measure, memory, _numpy())

    def _constrain(self, part: Region, tile: Any, measure: Any, factor: Any) -> None:
        """Constrain a tile in place."""
        memory = _at_hand(tile)
        if isinstance(factor, float):
            return
        if factor is None or memory is None:
            tile[...] = self._form(part).apply(tile, measure, _numpy())
        elif factor.dtype == tile.dtype:
            memory.multiply(tile, factor, tile)
        else:
            tile[...] = execution.scaled(tile, factor, _numpy())


class WholePass(Pass):
    """A constraint that needs whole slices at once, or the whole tensor: it is called."""

    @cached_property
    def axes(self) -> tuple[int, ...]:
        if isinstance(self.constraint, WholeSlice):
            return self.constraint.axes(_stand_in(self.tensor))
        return tuple(range(len(self.tensor.shape)))

    @cached_property
    def grid(self) -> Grid:
        return replace(super().grid, most=1)

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        if not self.tensor.entries:
            return
        entries = max(1, chunk_bytes // self.tensor.itemsize)
        for panel, fits in self.grid.panels(entries, SLICES_OF_PANEL):
            if not fits:
                least = math.prod(part.stop - part.start for part in panel)
                raise ValueError(
                    f"{type(self.constraint).__name__} needs whole slices of "
                    f"{self.tensor.name!r} at once, {least * self.tensor.itemsize} bytes, more "
                    f"than a chunk of {chunk_bytes} bytes: raise the chunk size"
                )
            yield panel, [panel]

    def check(self, region: Region, block: Any = None) -> Outcome:
        block = self.parts(region, block).read(region)
        return Outcome(before=_summary(self.constraint.violation(block)))

    def project(
        self, region: Region, block: Any = None, measures: Measures | None = None
    ) -> Outcome:
        parts = self.parts(region, block, kept=self.result is None)
        block = parts.read(region)
        result = self._result(block)
        before = _summary(self.constraint.violation(block))
        after = _summary(self.constraint.violation(result)) if before.violating else before
        parts.write(region, result)
        return Outcome(before, after, block=parts.finish(self.durable))

    def _result(self, block: Any) -> Any:
        result = self.constraint(block)
        if result.shape != block.shape or result.dtype != block.dtype:
            raise ValueError(
                f"{self.constraint!r} returned shape {tuple(result.shape)} and dtype "
                f"{result.dtype} for {self.tensor.name!r}, of shape {tuple(block.shape)} and "
                f"dtype {block.dtype}"
            )
        return result


class Called(Constraint):
    """Any callable as a constraint on whole tensors."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, w: Any, *, copy: bool | None = None) -> Any:
        return self.function(w)

    def get_config(self) -> dict[str, Any]:
        return {"function": repr(self.function)}


def pass_of(constraint: Any, tensor: Tensor) -> Pass:
    """Return the pass for a constraint and a tensor, or raise where they do not fit.

    Raises
    ------
    TypeError
        If the dtype of the tensor is not one that the constraint takes.
    ValueError
        If the shape or the axis does not fit.
    """
    if not tensor.supported:
        raise TypeError(
            f"{tensor.name!r} is selected, but has dtype {tensor.dtype}: constraints on files "
            "take float16, bfloat16, float32 and float64; select other weights"
        )
    if not isinstance(constraint, Constraint):
        constraint = Called(constraint)
    own_call = type(constraint).__call__ is not Form.__call__
    if isinstance(constraint, Form):
        try:
            constraint.validate(_stand_in(tensor))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{tensor.name!r}: {error}") from None
    if isinstance(constraint, Elementwise) and not own_call:
        return EntriesPass(constraint, tensor)
    if isinstance(constraint, Slicewise) and not own_call:
        return SlicesPass(constraint, tensor)
    return WholePass(constraint, tensor)


def _stand_in(tensor: Tensor) -> Any:
    """Return an array of the shape and dtype of a tensor that takes no memory."""
    import numpy

    return numpy.broadcast_to(numpy.zeros((), numpy_dtype(tensor.dtype)), tensor.shape)


@functools.cache
def _numpy() -> Any:
    import numpy

    return _arrays.namespace(numpy.empty(0))
