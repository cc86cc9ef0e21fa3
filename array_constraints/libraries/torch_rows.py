"""Slices of PyTorch tensors that are rows or columns, as those of layers: sums in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch

LONGEST = 2**16  # entries: 512 KiB in float64, which stay in the caches
_SMALL = 2**15  # entries of a block of which no memory is spared


def are_rows(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether slices are rows: their entries lie side by side, and are not too many."""
    kept = x.ndim - len(axes)
    if not axes or axes[0] != kept or not x.is_contiguous():
        return False
    return bool(math.prod(x.shape[kept:]) <= LONGEST)


def are_columns(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether slices are columns of float32, so many that 64 are a small part; below 1 MiB."""
    if x.dtype is not torch.float32 or x.numel() >= 2**18 or not x.is_contiguous():
        return False
    columns: int = math.prod(x.shape[len(axes) :])
    return columns >= 256 and axes == tuple(range(len(axes)))


def sums_of_columns(x: Any, axes: tuple[int, ...], power: int) -> Any:
    """Return the sums of powers, dimensions kept: a quarter of the columns at a time, or so.

    In steps of 64, as torch.sum adds the columns beyond whole vectors in another order.
    """
    columns = x.reshape(math.prod(x.shape[: len(axes)]), -1)
    panels = columns.split(max(64, columns.shape[1] // 4 // 64 * 64), 1)
    found = torch.cat([powers(panel, power, torch.float64).sum(0) for panel in panels])
    return found.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def parts(x: Any, axes: tuple[int, ...], spared: bool) -> list[Any]:
    """Return the rows in parts that stay in the caches when they are widened.

    What is made of one is twice the bytes of the block at most; where memory is spared, half
    of those of a block that is not small.
    """
    entries = x.numel()
    step = max(x.nbytes // 16, 2**13) if spared and entries > _SMALL else x.nbytes // 4
    rows = x.reshape(math.prod(x.shape[: x.ndim - len(axes)]), -1)
    step = min(step, LONGEST)
    return [rows] if entries <= step else list(rows.split(max(1, step // rows.shape[1])))


def sums(x: Any, axes: tuple[int, ...], power: int, spared: bool) -> Any:
    """Return the sums of powers, dimensions kept."""
    if x.numel() <= _SMALL:  # one part
        return powers(x, power, torch.float64).sum(axes, True)
    kept = (*x.shape[: x.ndim - len(axes)], *[1] * len(axes))
    return sums_of_parts(parts(x, axes, spared), power).reshape(kept)


def sums_of_parts(parts: list[Any], power: int) -> Any:
    """Return the sums of powers of all rows in one tensor of one dimension."""
    if len(parts) == 1:
        return powers(parts[0], power, torch.float64).sum(1)
    lengths = [part.shape[0] for part in parts]
    found = torch.empty(sum(lengths), dtype=torch.float64)
    for part, place in zip(parts, found.split(lengths), strict=True):
        torch.sum(powers(part, power, torch.float64), 1, out=place)
    return found


class SumsOfMany:
    """The sums of the rows of tensors that are kept, in few calls: small ones together.

    What is widened stands in one buffer, of 512 KiB at most. Neighbours with rows of the same
    length are added up by one call, in which each row is added up as if it were alone.
    """

    def __init__(self, power: int, tensors: list[Any], axes: list[tuple[int, ...]]) -> None:
        self._power = power
        pairs = zip(tensors, axes, strict=True)
        rows = [part for x, along in pairs for part in parts(x.detach(), along, spared=True)]
        self._found = torch.empty(sum(len(part) for part in rows), dtype=torch.float64)
        chunks = list(_chunks(rows))
        largest = max(sum(part.numel() for part in chunk) for chunk in chunks)
        buffer, start = torch.empty(largest, dtype=torch.float64), 0
        self._calls = []
        for chunk in chunks:
            widened = buffer[: sum(part.numel() for part in chunk)]
            pieces = widened.split([part.numel() for part in chunk])
            copies = [x.view(part.shape) for x, part in zip(pieces, chunk, strict=True)]
            sums, at = [], 0
            for length, alike in itertools.groupby(chunk, lambda part: part.shape[1]):
                count = sum(len(part) for part in alike)
                block = widened[at : at + count * length].view(count, length)
                sums.append((block, self._found[start : start + count]))
                at, start = at + count * length, start + count
            self._calls.append((copies, chunk, widened, sums))

    def __call__(self) -> Any:
        """Return the sums of all rows in one tensor, which the next call overwrites."""
        for copies, chunk, widened, sums in self._calls:
            torch._foreach_copy_(copies, chunk)
            if self._power == 2:
                widened.mul_(widened)
            else:
                widened.abs_()
            for block, place in sums:
                torch.sum(block, 1, out=place)
        return self._found


def _chunks(rows: list[Any]) -> Iterator[list[Any]]:
    """Yield neighbours that have no more entries together than stay in the caches."""
    chunk: list[Any] = []
    for part in rows:
        if chunk and sum(x.numel() for x in chunk) + part.numel() > LONGEST:
            yield chunk
            chunk = []
        chunk.append(part)
    yield chunk


def powers(x: Any, power: int, wide: Any) -> Any:
    """Return the terms of a sum, in the dtype ``wide``: one array is made, no more."""
    if x.dtype == wide:
        return x * x if power == 2 else x.abs()
    terms = x.to(wide)
    return terms.mul_(terms) if power == 2 else terms.abs_()
