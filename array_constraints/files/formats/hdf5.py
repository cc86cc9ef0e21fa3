"""The HDF5 format, Keras's ``.weights.h5`` included.

Datasets that lie in the file as bytes are read and written as such; the others, in chunks or
compressed, by the HDF5 library in a copy of the file.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from array_constraints.executors.grid import Region
from array_constraints.files.formats.base import Target, Tensor
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.disk import Progress, copy_bytes, sync
from array_constraints.files.formats.hdf5_datasets import (
    check_same_listing,
    datasets_of,
    hdf5_errors,
    listed,
    opened_at,
    opened_to_write,
)
from array_constraints.files.formats.hdf5_streams import Sink
from array_constraints.files.formats.raw import FileSource, RawTarget, RawTensor
from array_constraints.layers import KERAS


@dataclass
class Hdf5(FileSource):
    """An HDF5 file, opened."""

    @property
    def layout(self) -> str | None:  # type: ignore[override]
        return KERAS if self.path.name.endswith(".weights.h5") else None

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        chosen = [t for t in selected if isinstance(t, RawTensor)]
        if len(chosen) == len(selected):
            return Hdf5RawTarget({self.path: content}, chosen, self)
        return Hdf5Target(self, content)


def open_source(path: Path) -> Hdf5:
    """Open an HDF5 file: its groups and datasets are listed."""
    return Hdf5(path, listed(path, 0, path.stat().st_size))


@dataclass(frozen=True)
class Hdf5RawTarget(RawTarget):
    """A copy whose datasets are written as bytes."""

    source: Hdf5

    def finish(self) -> None:
        for content in self.copies.values():
            check_same_listing(self.source, content)
        super().finish()


def _refuse_overlapping_chunks(path: Path, size: int) -> None:
    """Raise where chunks share a place: the HDF5 library may crash when they are written."""
    places = array("Q")  # start and length of each
    with hdf5_errors(path), opened_at(path, 0, size) as file:
        for _, entry in datasets_of(file, path, (), set()):
            if entry.chunks:
                entry.id.chunk_iter(lambda it: places.extend((it.byte_offset, it.size)))
    spans = numpy.frombuffer(places, "u8").reshape(-1, 2)
    if (spans > size).any():
        raise DamagedFileError(path, "has chunks that do not lie inside of the file")
    spans = spans[spans[:, 0].argsort()]
    if (spans[:-1].sum(axis=1) > spans[1:, 0]).any():
        raise DamagedFileError(path, "has chunks that lie in the same place")


class Hdf5Target(Target):
    """A copy of the file, into which the HDF5 library writes, one chunk after the other.

    The library ends the process where it cannot write what it holds, and cannot close a file
    without that: it writes to a :class:`Sink`, which does not fail. It is called by one thread,
    which no signal of the keyboard can interrupt half way.
    """

    shared = False

    def __init__(self, opened: Hdf5, content: Path) -> None:
        self.opened, self.source, self.content = opened, opened.path, content
        self.sink: Sink | None = None
        self.file: Any = None
        self.dataset: Any = None
        self.name: str | None = None
        self.thread = concurrent.futures.ThreadPoolExecutor(1)

    def prepare(self, progress: Progress) -> None:
        size = self.source.stat().st_size
        _refuse_overlapping_chunks(self.source, size)
        copy_bytes(self.source, self.content, [(0, size)], progress)
        self._called(self._open)

    def write(self, tensor: Tensor, region: Region, block: Any) -> None:
        self._called(self._write, tensor, region, block)

    def sync(self) -> None:
        sync(self.content)

    def finish(self) -> None:
        self._called(self._close)
        check_same_listing(self.opened, self.content)
        self.sync()
        self.thread.shutdown()

    def abandon(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was finished, and the thread is gone
            self.thread.submit(self._close)
        self.thread.shutdown()

    def _called(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function that uses the library; raise what the system said about the file."""
        with hdf5_errors(self.source, self.name or "the file"):
            try:
                self.thread.submit(function, *arguments).result()
            except Exception as error:
                raise self._refused() or error from None
            if refused := self._refused():
                raise refused

    def _refused(self) -> OSError | None:
        """Return what the system said when it did not take what was written."""
        return self.sink.error if self.sink is not None else None

    def _open(self) -> None:
        self.sink = Sink(self.content)
        self.file = opened_to_write(self.sink)

    def _write(self, tensor: Tensor, region: Region, block: Any) -> None:
        if self.name != tensor.name:
            self._flush()
            self.name, self.dataset = tensor.name, self.file[tensor.name]
        dataset = self.dataset
        if dataset.dtype.kind == "V":
            block = block.view(dataset.dtype)
        lengths = tensor.chunks or tuple(part.stop - part.start for part in region)
        starts = [range(p.start, p.stop, n) for p, n in zip(region, lengths, strict=True)]
        for at in itertools.product(*starts):
            stops = [min(i + n, p.stop) for i, n, p in zip(at, lengths, region, strict=True)]
            place = tuple(slice(i, stop) for i, stop in zip(at, stops, strict=True))
            inside = [
                slice(p.start - r.start, p.stop - r.start)
                for p, r in zip(place, region, strict=True)
            ]
            dataset[place] = block[tuple(inside)]
            if self._refused():
                return

    def _flush(self) -> None:
        """Write the chunks that are held: an error when a dataset is closed would be lost."""
        if self.dataset is not None:
            self.dataset.flush()

    def _close(self) -> None:
        try:
            self._flush()
        finally:
            self.dataset = None
            if self.file:
                self.file.close()
            if self.sink is not None:
                self.sink.close()
