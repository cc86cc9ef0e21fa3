"""Blocks of an array at hand: how it is cut, and what a run in blocks writes into."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, TypeAlias

from array_constraints import _arrays
from array_constraints._in_memory import InMemory
from array_constraints.typing import Array, Namespace

Index: TypeAlias = tuple[slice, ...]


def entries_of_block(w: Array, memory: InMemory, xp: Namespace) -> int | None:
    """Return how many entries a block has; None for an array that is one block.

    That is one of at most 2**21 entries, in the order of memory unless it is small. Else a
    block has at least 2**18 entries, because it costs some 30 calls; at most 2**20, because the
    caches end there; and a sixteenth of the array, so that what is made for a block is less
    than a tenth. A quarter of that for the half types, which are widened.
    """
    entries = math.prod(w.shape)
    if entries <= 2**15 or (entries <= 2**21 and memory.memory_order(w) is None):
        return None
    half = _arrays.precision(w, xp).weight.digits < 24
    least, share = (2**16, 64) if half else (2**18, 16)
    return min(max(entries // share, least), 2**20)


def regions(
    shape: tuple[int, ...], axes: tuple[int, ...], most: int
) -> Iterator[tuple[Index, list[Index]]]:
    """Cut an array into regions of whole slices, and each region into blocks of entries.

    A block has at most ``most`` entries, of at most ``most / 16`` slices, side by side in
    memory as far as that goes.
    """
    steps, room, slices = [0] * len(shape), most, max(1, most // 16)
    for i in reversed(range(len(shape))):
        step = min(shape[i], room if i in axes else min(room, slices))
        if 64 < step < shape[i]:
            step -= step % 64  # the squares of a block are added up in parts of equal length
        steps[i], room = step, room // step
        slices = slices if i in axes else slices // step
        room, slices = max(1, room), max(1, slices)
    cuts = [
        [slice(start, min(start + step, n)) for start in range(0, n, step)]
        for n, step in zip(shape, steps, strict=True)
    ]
    everything = [slice(None)]
    for region in itertools.product(
        *(everything if i in axes else cut for i, cut in enumerate(cuts))
    ):
        inside = (cut if i in axes else [region[i]] for i, cut in enumerate(cuts))
        yield region, list(itertools.product(*inside))


class Target:
    """What a blocked run writes into: nothing while nothing changes, a new array, or ``w``.

    ``source`` and ``written`` have their dimensions in memory order.
    """

    def __init__(self, w: Any, copy: bool | None, memory: InMemory, xp: Namespace) -> None:
        self.w, self.memory, self.xp = w, memory, xp
        self.order = memory.memory_order(w)
        self.source = self.in_memory_order(w)
        self.written: Any = self.source if copy is False else None
        self.factors: Any = None
        self.scaled: list[Index] = []
        self.kept: list[Index] = []

    def in_memory_order(self, x: Any) -> Any:
        """Return a view of ``x``, an array like ``w``, with its dimensions in memory order."""
        return x if self.order is None else self.xp.permute_dims(x, self.order)

    def axes(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the axes of ``w`` as those of ``source``."""
        order = self.order
        return axes if order is None else tuple(sorted(order.index(i) for i in axes))

    def keep(self, index: Index) -> None:
        """Take over a block as it is."""
        if self.written is None:
            self.kept.append(index)
        elif self.written is not self.source:
            self.written[index] = self.source[index]

    def at(self, index: Index) -> Any:
        """Return the block to write into."""
        if self.written is None:
            self.written = self.in_memory_order(self.memory.empty_like(self.w))
            for kept in self.kept:
                self.written[kept] = self.source[kept]
        return self.written[index]

    def multiply(self, region: Index, factor: Any, shape: tuple[int, ...]) -> None:
        """Take over a region times a factor, in the end: one call for all regions is faster."""
        if self.factors is None:
            self.factors = self.xp.ones(
                shape, dtype=factor.dtype, device=_arrays.device(self.w)
            )
        self.factors[region] = factor
        self.scaled.append(region)

    def result(self) -> Any:
        """Return the result, its dimensions in the order of ``w``."""
        if self.written is None and self.scaled and not self.kept:
            self.written = self.source * self.factors
        else:
            for i in self.scaled:
                self.memory.multiply(self.source[i], self.factors[i], self.at(i))
        if self.written is None or self.written is self.source:
            return self.w
        if self.order is None:
            return self.written
        back = tuple(self.order.index(i) for i in range(len(self.order)))
        return self.xp.permute_dims(self.written, back)
