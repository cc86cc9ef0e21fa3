"""The work of a constraint on a tensor, region by region: the base of the three kinds.

A :class:`TensorWork` is a value, sent to whichever thread or process has to do it: it reads a
region, measures or constrains it, and writes it. The mathematics is all that of the form.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from array_constraints import libraries
from array_constraints.executors.grid import Column, Grid, Node, Region
from array_constraints.files.formats.base import Tensor, numpy_dtype
from array_constraints.files.options import COUNTED, Detail
from array_constraints.files.run.distribution import Distribution
from array_constraints.files.run.report import SliceViolation, Summary
from array_constraints.files.run.tiles import RegionTiles

SLICES_OF_PANEL = 2**18
"""Slices that are measured at a time, where they do not fit whole: their norms take 2 MiB."""

Measures: TypeAlias = dict[Column, Any]
"""The measure of the slices of each column of tiles."""
Forms: TypeAlias = dict[Column, Any]
"""The forms that have measured last, where that took more than one round."""


class Decided(NamedTuple):
    """What the last round of measuring has found of the slices of each column."""

    measures: Measures
    forms: Forms


class Outcome(NamedTuple):
    """The outcome of a region: summaries, or nodes for them; and a block to be written."""

    before: Summary = Summary()
    after: Summary = Summary()
    nodes: Sequence[Node] = ()
    block: Any = None


@dataclass(frozen=True)
class TensorWork(ABC):
    """The work of one constraint on one tensor of a file."""

    constraint: Any
    tensor: Tensor
    grid: Grid
    """The grid that cuts the tensor."""
    result: Tensor | None = None
    """Where results are written by whoever makes them; None if only the caller can."""
    durable: bool = False
    """Whether results have to be on the disk before they are reported."""
    detail: Detail = COUNTED
    """What is told of the violations."""

    @property
    def axes(self) -> tuple[int, ...]:
        """The dimensions that a slice runs along; none if each entry is on its own."""
        return self.grid.axes

    @property
    def rounds(self) -> int:
        """How often slices that no region holds are measured at most."""
        return 1

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        """Return the panels of the tensor and their regions; one of one region is read once."""
        for panel, _ in self.grid.panels(self.entries_of(chunk_bytes), SLICES_OF_PANEL):
            yield panel, [panel]

    @abstractmethod
    def check(self, region: Region, block: Any = None) -> Outcome:
        """Return the violation of a region of whole slices."""

    @abstractmethod
    def project(
        self, region: Region, block: Any = None, decided: Decided | None = None
    ) -> Outcome:
        """Constrain a region, and write it."""

    def tiles(self, region: Region, given: Any, kept: bool = False) -> RegionTiles:
        """Return the tiles of a region, whose block may be given."""
        return RegionTiles(self.tensor, self.result, region, given, kept)

    def entries_of(self, chunk_bytes: int) -> int:
        """Return how many entries a chunk has, at least one."""
        return max(1, chunk_bytes // self.tensor.itemsize)

    def bytes_of(self, region: Region) -> int:
        """Return the bytes of a region, uncompressed."""
        entries: int = math.prod([p.stop - p.start for p in region])
        return entries * self.tensor.itemsize


RegionWork: TypeAlias = tuple[TensorWork, Region]
"""A region, and the work of its tensor."""


def summary_of(
    excess: Any, place: Region, axes: tuple[int, ...], detail: Detail = COUNTED
) -> Summary:
    """Return the summary of violations, slice by slice or entry by entry.

    ``place`` is where the block of these slices, which run along ``axes``, is in the tensor.
    """
    import numpy

    violating = int(numpy.count_nonzero(excess))  # NaN counts, too
    largest = float(excess.max(initial=0.0)) if violating else 0.0
    nan = infinite = 0
    if not math.isfinite(largest):
        nan, infinite = (
            int(numpy.count_nonzero(f(excess))) for f in (numpy.isnan, numpy.isinf)
        )
        largest = float(excess.max(initial=0.0, where=numpy.isfinite(excess)))
    found = Summary(excess.size, violating, largest, nan, infinite)
    if detail.distribution:
        found = found._replace(distribution=Distribution.of(excess))
    if detail.slices:
        worst = _worst(excess, place, axes, detail.slices) if violating else ()
        found = found._replace(worst=worst, most=detail.slices)
    return found


def _worst(
    excess: Any, place: Region, axes: tuple[int, ...], most: int
) -> tuple[SliceViolation, ...]:
    """Return the largest violations, NaN first, and where they are in the tensor."""
    import numpy

    flat = numpy.where(numpy.isnan(excess), numpy.inf, excess).ravel()
    order = numpy.argsort(-flat, kind="stable")[:most]
    found = []
    for i in order[flat[order] > 0].tolist():
        index = numpy.unravel_index(i, excess.shape)
        at = [None if k in axes else int(n) + place[k].start for k, n in enumerate(index)]
        found.append(SliceViolation(tuple(at), float(excess[index])))
    return tuple(found)


def stand_in(tensor: Tensor) -> Any:
    """Return an array of the shape and dtype of a tensor that takes no memory."""
    import numpy

    return numpy.broadcast_to(numpy.zeros((), numpy_dtype(tensor.dtype)), tensor.shape)


@functools.cache
def numpy_namespace() -> Any:
    """Return NumPy's array API namespace: what is read from files is an array of NumPy."""
    import numpy

    return libraries.of_namespace(numpy).xp
