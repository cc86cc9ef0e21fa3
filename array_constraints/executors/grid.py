"""Grids cut arrays into parts, and forests merge their measures. Ten words are used for it.

*entry*: one number of a weight.
*slice*: the entries that one constraint is about; it runs along the axes.
*tile*: what is measured at once. Its borders depend on the shape, the axes and the chunks of a
file alone, so that the bytes of a result depend neither on the regions nor on who made it.
*region*: what is read and written at once: whole tiles, and whole chunks of a file.
*panel*: a part of the array with whole slices. One region, read once, if that fits into memory;
else measured first and read again, with so few slices that their measures fit.
*measure*: what a part of a slice contributes to what is known of the whole; measures merge.
*size*: one number that says how large a slice is, such as its norm.
*form*: what a constraint states: elementwise, slicewise, a rescaling, or on whole slices.
*format*: how numbers are encoded (float32), or files (safetensors).
*change*: what a measure does to the slices that it is of: nothing, a factor, or more.

The tiles of the same slices are a *column* of the grid. Their measures are merged in a binary
tree over their index.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

Region: TypeAlias = tuple[slice, ...]
Column: TypeAlias = tuple[int, ...]
Node: TypeAlias = tuple[Column, int, int, Any]
"""A column, the level and index of a node of its tree, and the measure of the tiles there."""

ENTRIES_OF_TILE = 2**20


@dataclass(frozen=True)
class Grid:
    """The tiles of an array; ``axes`` are the dimensions that its slices run along.

    Parameters
    ----------
    shape, axes
        Those of the array; with ``axes=()`` each entry is a slice.
    chunks
        The chunks of the file, if it has any: a region holds whole ones.
    order
        The dimensions from the slowest to the fastest in the file.
    most
        The entries of a tile at most; by default 2**20, so many as a measure takes at once.
    groups
        How many neighbours in each dimension no border of tiles parts; by default 1.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    chunks: tuple[int, ...] | None
    order: tuple[int, ...]
    most: int | None = None
    groups: tuple[int, ...] | None = None

    @cached_property
    def least(self) -> tuple[int, ...]:
        """The shortest tile in each dimension, where the chunks of a file do not say more."""
        return self.groups or (1,) * len(self.shape)

    @cached_property
    def parts(self) -> tuple[int, ...] | None:
        """The least that is read in each dimension, where there are chunks: whole groups."""
        if not self.chunks:
            return None
        lengths = map(math.lcm, self.chunks, self.least)
        return tuple([min(pair) for pair in zip(lengths, self.shape, strict=True)])

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """The tile's length in each dimension: at least 16 entries of a slice, where it has."""
        within, least = list(self.shape), list(self.least)
        most = self.most or ENTRIES_OF_TILE
        if self.parts:
            chunk = list(self.parts)
            within, least = (chunk, least) if math.prod(chunk) >= most else (within, chunk)
        free = math.prod(n for i, n in enumerate(least) if i not in self.axes)
        room = max(1, most // math.prod(least))
        slices = max(1, most // 16 // free) if self.axes else room
        for i in reversed(self.order):
            parts = -(-within[i] // least[i])
            fit = min(parts, room if i in self.axes else min(room, slices))
            if least[i] == 1 and 64 < fit < parts:
                fit -= fit % 64  # the squares of a tile are added up in parts of equal length
            least[i] = min(within[i], least[i] * fit)
            room, slices = room // fit, slices if i in self.axes else slices // fit
        return tuple(least)

    @cached_property
    def quanta(self) -> tuple[int, ...]:
        """The least length of a region in each dimension: whole tiles and whole chunks."""
        chunks = self.parts or self.steps
        pairs = zip(chunks, self.steps, self.shape, strict=True)
        return tuple(min(max(chunk, step), n) for chunk, step, n in pairs)

    def borders(self, i: int, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Return index, start and stop of each tile between two borders in dimension ``i``."""
        step, quantum = self.steps[i], self.quanta[i]
        per_quantum = -(-quantum // step)
        while start < stop:
            within = start % quantum
            end = min(start + min(step, quantum - within), stop)
            yield start // quantum * per_quantum + within // step, start, end
            start = end

    def count(self, i: int) -> int:
        """Return how many tiles there are in dimension ``i``."""
        step, quantum, n = self.steps[i], self.quanta[i], self.shape[i]
        return n // quantum * -(-quantum // step) + -(-(n % quantum) // step)

    def tiles(self, region: Region) -> Iterator[tuple[Column, int, Region]]:
        """Return the column, the index in it, and the place of each tile of a region.

        A column is all tiles of the same slices.
        """
        borders = [self.borders(i, part.start, part.stop) for i, part in enumerate(region)]
        for tile in itertools.product(*borders):
            column = tuple(index for i, (index, *_) in enumerate(tile) if i not in self.axes)
            index = 0
            for i in self.axes:
                index = index * self.count(i) + tile[i][0]
            yield column, index, tuple(slice(start, stop) for _, start, stop in tile)

    @cached_property
    def has_whole_slices(self) -> bool:
        """Whether each tile has whole slices: columns are of one tile."""
        return all(self.count(i) == 1 for i in self.axes)

    def columns(self) -> Iterator[tuple[Region, list[Region]]]:
        """Return each panel of slices of an array at hand, and the tiles of its column."""
        cuts = [
            [slice(start, min(start + step, n)) for start in range(0, n, step)]
            for n, step in zip(self.shape, self.steps, strict=True)
        ]
        whole = (
            [part] if i in self.axes else cuts[i] for i, part in enumerate(self._everything)
        )
        for panel in itertools.product(*whole):
            tiles = (cuts[i] if i in self.axes else [part] for i, part in enumerate(panel))
            yield panel, list(itertools.product(*tiles))

    def panels(self, entries: int, slices: int) -> Iterator[tuple[Region, bool]]:
        """Return the panels, and whether each is one region of at most ``entries`` entries.

        Whole slices that are one quantum fit, as nothing smaller is read. Where they do not, a
        panel has at most ``slices`` slices; none fit into no entries.
        """
        least = [self.shape[i] if i in self.axes else q for i, q in enumerate(self.quanta)]
        most = max(entries, math.prod(self.quanta)) if entries else 0
        fits = math.prod(least) <= most
        room = most // math.prod(least) if fits else self._slices_to_spare(least, slices)
        free = [i for i in reversed(self.order) if i not in self.axes]
        for panel in _cut(self._everything, self._grown(least, free, room), self.order):
            yield panel, fits

    def regions(self, panel: Region, entries: int) -> Iterator[Region]:
        """Cut a panel into regions of at most ``entries`` entries, or of one quantum."""
        lengths = [part.stop - part.start for part in panel]
        least = [min(q, n) for q, n in zip(self.quanta, lengths, strict=True)]
        room = entries // math.prod(least)
        grown = self._grown(least, list(reversed(self.order)), room, lengths)
        yield from _cut(panel, grown, self.order)

    @property
    def _everything(self) -> Region:
        return tuple(slice(0, n) for n in self.shape)

    def _slices_to_spare(self, least: list[int], slices: int) -> int:
        free = math.prod(n for i, n in enumerate(least) if i not in self.axes)
        return slices // free

    def _grown(
        self, least: list[int], order: list[int], room: int, lengths: list[int] | None = None
    ) -> list[int]:
        """Return the lengths grown by powers of two, up to ``room`` times as many entries."""
        grown = list(least)
        for i in order:
            n = lengths[i] if lengths else self.shape[i]
            most = -(-n // least[i])  # quanta
            if most > room:
                grown[i] = least[i] << max(0, room.bit_length() - 1)
                break
            grown[i], room = n, room // most
        return grown


@functools.lru_cache(maxsize=2**10)
def grid_of(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    chunks: tuple[int, ...] | None,
    order: tuple[int, ...],
    most: int,
    groups: tuple[int, ...] | None = None,
) -> Grid:
    """Return a grid, the same one for all tensors of a shape: a model has many of few."""
    return Grid(shape, axes, chunks, order, most, groups)


def _cut(whole: Region, lengths: list[int], order: tuple[int, ...]) -> Iterator[Region]:
    """Return the parts of a region in the order of the file."""
    cuts = [
        [slice(at, min(at + step, part.stop)) for at in range(part.start, part.stop, step)]
        for part, step in zip(whole, lengths, strict=True)
    ]
    for parts in itertools.product(*(cuts[i] for i in order)):
        yield tuple(parts[order.index(i)] for i in range(len(order)))


class Forest:
    """The measures of a grid's columns, merged in one fixed order as they come in."""

    def __init__(self, merge: Callable[[Any, Any], Any]) -> None:
        self.merge = merge
        self.nodes: dict[Column, dict[tuple[int, int], Any]] = {}

    def add(self, column: Column, level: int, index: int, measure: Any) -> None:
        """Add a node, and merge it with its sibling as long as that is there."""
        nodes = self.nodes.setdefault(column, {})
        while (sibling := nodes.pop((level, index ^ 1), None)) is not None:
            pair = (sibling, measure) if index % 2 else (measure, sibling)
            measure, level, index = self.merge(*pair), level + 1, index // 2
        nodes[level, index] = measure

    def add_all(self, nodes: Iterable[Node]) -> None:
        """Add nodes, in whatever order."""
        for node in nodes:
            self.add(*node)

    def left(self) -> list[Node]:
        """Return the nodes that wait for their siblings."""
        return [
            (column, level, index, measure)
            for column, nodes in self.nodes.items()
            for (level, index), measure in nodes.items()
        ]

    def measures(self) -> dict[Column, Any]:
        """Return the measure of each column, once all its tiles were added."""
        merged = {}
        for column, nodes in self.nodes.items():
            whole, *rest = (nodes[key] for key in sorted(nodes, reverse=True))
            for measure in rest:
                whole = self.merge(whole, measure)
            merged[column] = whole
        return merged
