"""The tensors that lie in a file as raw bytes, and the copies in which they are written."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from array_constraints.executors.grid import Region
from array_constraints.files.formats.base import Source, Target, Tensor, numpy_dtype
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.disk import (
    Progress,
    copy_bytes,
    make_folder,
    naming,
    sync,
    write_at,
)


@dataclass(frozen=True)
class RawTensor(Tensor):
    """A tensor whose entries lie one behind the other in a file, from ``offset`` on."""

    path: Path
    offset: int
    big_endian: bool = False
    strides: tuple[int, ...] | None = None
    """Entries from one index to the next of each dimension; None for those of C order."""
    by_tile = True
    stored_bytes: int | None = None
    """The bytes in the file, of dtypes that are not supported."""

    @property
    def nbytes(self) -> int:
        return super().nbytes if self.stored_bytes is None else self.stored_bytes

    @property
    def order(self) -> tuple[int, ...]:
        strides = self.strides
        if strides is None:
            return super().order
        return tuple(sorted(range(len(strides)), key=lambda i: strides[i], reverse=True))

    @property
    def dense(self) -> bool:
        """Whether its bytes lie one behind the other, in whatever order."""
        return self.strides is None or span_of(self.shape, self.strides) == self.entries

    def read(self, region: Region) -> Any:
        import numpy

        shape = tuple([region[i].stop - region[i].start for i in self.order])
        block = numpy.empty(shape, numpy_dtype(self.dtype))
        with self._opened() as file:
            for at, buffer in self.buffers(region, block):
                self._read_at(file, at, buffer)
        if self.big_endian:
            block.view(f"u{self.itemsize}").byteswap(inplace=True)
        return block.transpose(numpy.argsort(self.order))

    def write(self, region: Region, block: Any) -> None:
        block = self.as_stored(block)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            with naming(self.path):
                for at, buffer in self.buffers(region, block):
                    write_at(descriptor, at, buffer)
        finally:
            os.close(descriptor)

    def sync(self) -> None:
        sync(self.path)

    def as_stored(self, block: Any) -> Any:
        """Return a block with its bytes as they are in the file."""
        import numpy

        block = numpy.ascontiguousarray(block.transpose(self.order))
        return block.view(f"u{self.itemsize}").byteswap() if self.big_endian else block

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with naming(self.path):
                yield descriptor
        finally:
            os.close(descriptor)

    def _read_at(self, file: Any, at: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            got = os.preadv(file, [buffer[done : done + 2**30]], at + done)
            if not got:
                raise DamagedFileError(self.path, "became shorter while it was read")
            done += got

    def buffers(self, region: Region, block: Any) -> Iterator[tuple[int, memoryview]]:
        """Return the place in the file of each run of bytes, and its memory in ``block``."""
        steps = c_strides(self.shape) if self.strides is None else self.strides
        parts, lengths, strides = (
            zip(*((region[i], self.shape[i], steps[i]) for i in self.order), strict=True)
            if self.shape
            else ((), (), ())
        )
        run, inner = 1, len(parts)  # the entries of a run, and the first dimension within it
        while inner and (strides[inner - 1] == run or lengths[inner - 1] == 1):
            inner -= 1
            run *= parts[inner].stop - parts[inner].start
            if parts[inner].stop - parts[inner].start != lengths[inner]:
                break
        first = sum(p.start * n for p, n in zip(parts[inner:], strides[inner:], strict=True))
        length, view = run * self.itemsize, memoryview(block.reshape(-1).view("u1"))
        ranges = [range(part.start, part.stop) for part in parts[:inner]]
        for i, outer in enumerate(itertools.product(*ranges)):
            at = first + sum(j * n for j, n in zip(outer, strides[:inner], strict=True))
            yield self.offset + at * self.itemsize, view[i * length : (i + 1) * length]


def c_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in entries, of an array whose last dimension is the fastest."""
    return tuple([math.prod(shape[i + 1 :]) for i in range(len(shape))])


def span_of(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Return how many entries lie from the first of an array to its last, both included."""
    if not math.prod(shape):
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


@dataclass(frozen=True)
class RawTarget(Target):
    """Files of the same length as those of the source, the selected tensors in their places."""

    copies: Mapping[Path, Path]
    """Each file of the source, and its copy."""
    selected: Sequence[RawTensor]

    def prepare(self, progress: Progress) -> None:
        for source, copy in self.copies.items():
            make_folder(copy.parent)
            dense = [t for t in self.selected if t.path == source and t.dense]
            kept = _between(dense, source)
            copy_bytes(source, copy, kept, progress)

    def written(self, tensor: Any) -> RawTensor:
        found: RawTensor = replace(tensor, path=self.copies[tensor.path])
        return found

    def sync(self) -> None:
        for copy in self.copies.values():
            sync(copy)
        for folder in {copy.parent for copy in self.copies.values()}:
            sync(folder)


def _between(tensors: Sequence[RawTensor], path: Path) -> list[tuple[int, int]]:
    """Return the ranges of bytes of a file that lie outside of tensors."""
    ranges, at = [], 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        ranges.append((at, tensor.offset))
        at = tensor.offset + tensor.nbytes
    return [*ranges, (at, path.stat().st_size)]


@dataclass
class FileSource(Source):
    """A single file of tensors that lie in it as bytes."""

    path: Path
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:  # type: ignore[override]
        return [self.path]

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        return RawTarget(
            {self.path: content}, [t for t in selected if isinstance(t, RawTensor)]
        )
