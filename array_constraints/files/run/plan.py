"""The plan of a run: which tensors, in which regions, how much is read, written and held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from array_constraints.executors import grid
from array_constraints.executors.grid import Region
from array_constraints.executors.needs import EVERYTHING, needs_of
from array_constraints.files.delivery.identity import fingerprint, why_not_identified
from array_constraints.files.formats.base import Source, Target, Tensor
from array_constraints.files.options import Options
from array_constraints.files.run.axis_warnings import warnings_of
from array_constraints.files.run.report import Skipped
from array_constraints.files.run.selecting import selected, unmatched
from array_constraints.files.run.work import TensorWork
from array_constraints.rules import Rules

BYTES_OF_NAME = 2**11
"""Bytes that are held for each tensor listed: its header while it is read, place, report."""

BYTES_OF_ROUNDS = 96 * 2**20
"""Bytes that are held of ranks or pivots, for each worker and once more, to merge them."""


@dataclass(frozen=True)
class Item:
    """A selected tensor, and how its constraint is brought to it."""

    work: TensorWork
    chunk_size: int
    in_order: bool

    @property
    def panels(self) -> Iterator[tuple[Region, list[Region]]]:
        """The parts that have whole slices, and the regions of each."""
        if not self.tensor.entries:
            return iter(())
        return self.work.panels(self.chunk_size, self.in_order)

    @property
    def tensor(self) -> Tensor:
        """The selected tensor."""
        return self.work.tensor

    @property
    def constraint(self) -> Any:
        """Its constraint."""
        return self.work.constraint

    @property
    def form(self) -> str:
        """The form of the constraint, which says how often a tensor is read."""
        return _NAMES.get(needs_of(self.constraint), "slicewise")

    @property
    def passes(self) -> int:
        """The number of times, at most, that the tensor is read to be constrained."""
        return max((self._times(regions) for _, regions in self.panels), default=0)

    def _times(self, regions: list[Region]) -> int:
        """Return how often the regions of a panel are read at most, to be constrained."""
        return 1 if len(regions) == 1 else 1 + self.work.rounds

    @property
    def regions(self) -> int:
        """The number of regions that it is read in."""
        return sum(len(regions) for _, regions in self.panels)

    @property
    def bytes_of_region(self) -> int:
        """The bytes of its largest region."""
        sizes = (self.work.bytes_of(r) for _, regions in self.panels for r in regions)
        return max(sizes, default=0)

    def bytes_read(self, to_project: bool) -> int:
        """Return the bytes that are read of it at most, uncompressed."""
        return sum(
            sum(map(self.work.bytes_of, regions)) * (self._times(regions) if to_project else 1)
            for _, regions in self.panels
        )


@dataclass(frozen=True)
class Plan:
    """The plan of a run; nothing of a tensor is read to make it."""

    source: Source
    rules: Rules
    items: tuple[Item, ...]
    options: Options
    workers: int
    to_project: bool
    warnings: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()

    def target(self, content: Path) -> Target:
        """Return the copy to be made at ``content``."""
        return self.source.target([item.tensor for item in self.items], content)

    def fingerprint(self) -> dict[str, Any]:
        """Identify the run by its source files, as they are now, and its rules."""
        axes = [(item.tensor.name, item.work.axes) for item in self.items]
        return fingerprint(self.source, self.source.files, self.rules, axes)

    @property
    def resumable(self) -> bool:
        """Whether a run that was stopped can be continued."""
        return not self.why_not_resumable

    @property
    def why_not_resumable(self) -> str:
        """Why a run that was stopped cannot be continued; nothing if it can."""
        if not self.target(Path()).shared:
            return "its format is written as a stream, which cannot be continued"
        return why_not_identified(self.rules)

    @property
    def peak_memory(self) -> int:
        """Bytes held at most beside what the libraries take: regions, tiles, names."""
        largest = max((item.bytes_of_region for item in self.items), default=0)
        itemsize = max((item.tensor.itemsize for item in self.items), default=0)
        tile = itemsize * grid.ENTRIES_OF_TILE
        copies = 2 if any(item.tensor.chunks for item in self.items) else 1  # while decoding
        held = self.workers * (copies * largest + 4 * min(largest, tile))
        if any(item.passes > 2 for item in self.items):
            held += (self.workers + 1) * BYTES_OF_ROUNDS
        return held + BYTES_OF_NAME * len(self.source.tensors)

    @property
    def bytes_read(self) -> int:
        """Bytes read at most: of the selected tensors as often as they need, else once."""
        selected = sum(item.bytes_read(self.to_project) for item in self.items)
        return selected + (self.bytes_passed_through if self.to_project else 0)

    @property
    def bytes_written(self) -> int:
        """Bytes written: all of the source once; uncompressed, of the selected tensors."""
        if not self.to_project:
            return 0
        return self.bytes_passed_through + sum(item.tensor.nbytes for item in self.items)

    @property
    def bytes_passed_through(self) -> int:
        """Bytes that no constraint touches."""
        return max(0, self.source.nbytes - sum(item.tensor.nbytes for item in self.items))


def plan_for(
    source: Source, rules: Rules, options: Options, *, workers: int, to_project: bool
) -> Plan:
    """Return the plan of a run.

    Raises
    ------
    LookupError, TypeError, ValueError
        As :func:`selected` and :func:`unmatched` have them; or if slices are too many to be
        measured at a time.
    """
    unused = unmatched(source, rules, options.strict)
    works, skipped = selected(source, rules, options, to_project=to_project)
    copy = source.target([work.tensor for work in works], Path()) if to_project else None
    in_order = copy is not None and not copy.shared
    works = [replace(work, detail=options.detail) for work in works]
    items = tuple([Item(work, options.chunk_size, in_order) for work in works])
    for item in items:
        next(item.panels, None)  # or raise, where slices do not fit
    warnings = (*unused, *warnings_of(source, options, items))
    return Plan(source, rules, items, options, workers, to_project, warnings, skipped)


_NAMES = {
    "entries": "elementwise",
    "slices": "wholeslice",
    "regions": "combination",
    EVERYTHING: "whole array",
}
"""The name that is printed for a need; the others are slicewise."""
