"""The tiles of a region, read and written so that they stay in the caches."""

from __future__ import annotations

import functools
from typing import Any

from array_constraints.executors.grid import ENTRIES_OF_TILE, Region
from array_constraints.files.formats.base import Tensor


class RegionTiles:
    """The tiles of one region, as they are asked for and given back.

    Where a tensor lies in its file as bytes, they are read and written one by one. Otherwise,
    and where the block is ``kept`` for somebody else to write, the region is read as a whole,
    and tiles are views of it.
    """

    def __init__(
        self, tensor: Tensor, result: Tensor | None, region: Region, given: Any, kept: bool
    ) -> None:
        _free_a_large_array()
        self.tensor, self.result, self.region, self.block = tensor, result, region, given
        self.direct = given is None and tensor.by_tile and not kept
        if given is None and not self.direct:
            self.block = tensor.read(region)

    def read(self, place: Region) -> Any:
        """Return a tile as an array that may be written to."""
        return self.tensor.read(place) if self.direct else self.block[self._index(place)]

    def write(self, place: Region, tile: Any) -> None:
        """Take over a tile, the array that was read or another."""
        if self.direct and self.result is not None:
            self.result.write(place, tile)
        elif tile.base is None or not self._is_view(tile):
            self.block[self._index(place)] = tile

    def finish(self, durable: bool) -> Any:
        """Return once the region is written, on the disk if asked for; or its block."""
        if self.result is None:
            return self.block
        if not self.direct:
            self.result.write(self.region, self.block)
        if durable:
            self.result.sync()
        return None

    def _is_view(self, tile: Any) -> bool:
        import numpy

        return bool(numpy.may_share_memory(tile, self.block))

    def _index(self, place: Region) -> tuple[Any, ...]:
        """Return where a tile is in the block; that of a number is a view, too."""
        pairs = zip(self.region, place, strict=True)
        return (*(slice(p.start - r.start, p.stop - r.start) for r, p in pairs), ...)


@functools.cache
def _free_a_large_array() -> None:
    """Let the allocator of the C library keep the memory of tiles, once in a process.

    It returns to the system what is larger than the largest array that was ever freed, and page
    faults then cost ten times as much as the arithmetic on a tile.
    """
    import numpy

    numpy.empty(16 * ENTRIES_OF_TILE, "u1")
