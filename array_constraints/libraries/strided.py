"""How the entries of an array lie in memory, and how it is cut into pieces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator


def overlapping(shape: tuple[int, ...], strides: tuple[int, ...], unit: int) -> str | None:
    """Say so where entries may share memory: a stride does not clear the shorter ones."""
    if not all(shape):  # it has no entries
        return None
    reach = unit
    pairs = zip(map(abs, strides), shape, strict=True)
    for stride, n in sorted(pair for pair in pairs if pair[1] > 1):
        if stride < reach:
            return "an expanded array, whose entries share memory"
        reach += (n - 1) * stride
    return None


def by_stride(strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return dimensions from the longest stride to the shortest; None if they are so."""
    order = tuple(sorted(range(len(strides)), key=lambda i: -abs(strides[i])))
    return None if order == tuple(range(len(strides))) else order


def cut(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> Iterator[tuple[tuple[slice, ...], list[tuple[slice, ...]]]]:
    """Yield panels of whole slices, and the tiles that each is cut into.

    A tile has at most an eighth of the entries, and at most 2**15; in a small array, where an
    eighth is less than 2**12, it has at most 2**12.
    """
    steps, entries = list(shape), math.prod(shape)
    most = min(max(entries // 8, 2**12), 2**15)
    for i in sorted(range(len(shape)), key=lambda i: (i in axes, -shape[i])):
        steps[i] = max(1, min(shape[i], shape[i] * most // entries))
        entries = entries // shape[i] * steps[i]
    cuts = [
        [slice(start, start + step) for start in range(0, n, step)]
        for n, step in zip(shape, steps, strict=True)
    ]
    whole = ([slice(None)] if i in axes else cut for i, cut in enumerate(cuts))
    for panel in itertools.product(*whole):
        tiles = (cuts[i] if i in axes else [part] for i, part in enumerate(panel))
        yield panel, list(itertools.product(*tiles))


def blocks(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Yield parts of at most so many slices, along the dimensions that number them."""
    if not shape:
        yield ()
        return
    inner = math.prod(shape[1:])
    if inner > most:
        for i in range(shape[0]):
            for rest in blocks(shape[1:], most):
                yield (slice(i, i + 1), *rest)
        return
    step = max(1, most // max(inner, 1))
    for i in range(0, shape[0], step):
        yield (slice(i, i + step),)
