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
    fortran: bool = False
    """Whether the first dimension is the fastest, not the last."""
    by_tile = True
    stored_bytes: int | None = None
    """The bytes in the file, of dtypes that are not supported."""

    @property
    def nbytes(self) -> int:
        return super().nbytes if self.stored_bytes is None else self.stored_bytes

    @property
    def order(self) -> tuple[int, ...]:
        dimensions = tuple(range(len(self.shape)))
        return dimensions[::-1] if self.fortran else dimensions

    def read(self, region: Region) -> Any:
        import numpy

        dtype = numpy_dtype(self.dtype)
        shape = tuple([part.stop - part.start for part in region])
        block = numpy.empty(shape[::-1] if self.fortran else shape, dtype)
        with self._opened() as file:
            for at, buffer in self.buffers(region, block):
                self._read_at(file, at, buffer)
        if self.big_endian:
            block.view(f"u{self.itemsize}").byteswap(inplace=True)
        return block.T if self.fortran else block

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

        block = numpy.ascontiguousarray(block.T if self.fortran else block)
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
        shape, parts = self.shape, list(region)
        if self.fortran:
            shape, parts = shape[::-1], parts[::-1]
        inner = len(shape)  # all dimensions from here on are whole
        while inner and (parts[inner - 1].stop - parts[inner - 1].start) == shape[inner - 1]:
            inner -= 1
        inner = max(inner - 1, 0)
        length = math.prod([part.stop - part.start for part in parts[inner:]]) * self.itemsize
        view = memoryview(block.reshape(-1).view("u1"))
        strides = [math.prod(shape[i + 1 :]) * self.itemsize for i in range(len(shape))]
        first = parts[inner].start * strides[inner] if shape else 0
        ranges = [range(part.start, part.stop) for part in parts[:inner]]
        for i, outer in enumerate(itertools.product(*ranges)):
            at = sum(j * stride for j, stride in zip(outer, strides[:inner], strict=True))
            yield self.offset + first + at, view[i * length : (i + 1) * length]


@dataclass(frozen=True)
class RawTarget(Target):
    """Files of the same length as those of the source, the selected tensors in their places."""

    copies: Mapping[Path, Path]
    """Each file of the source, and its copy."""
    selected: Sequence[RawTensor]

    def prepare(self, progress: Progress) -> None:
        for source, copy in self.copies.items():
            make_folder(copy.parent)
            kept = _between([t for t in self.selected if t.path == source], source)
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
