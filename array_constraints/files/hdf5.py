"""HDF5, Keras's ``.weights.h5`` among it, and the weights inside a ``.keras`` archive.

Datasets that lie in the file as bytes are read and written as such; the others, in chunks or
compressed, by the HDF5 library in a copy of the file.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import os
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

try:
    import h5py
except ImportError as error:  # pragma: no cover - without the extra
    raise ImportError(
        "HDF5 is read with h5py: pip install 'array-constraints[hdf5]'"
    ) from error

from array_constraints.files.grid import Region
from array_constraints.files.npz import members_of, reading
from array_constraints.files.stored import (
    PIECE,
    Bytes,
    BytesTarget,
    DamagedFileError,
    FileSource,
    Progress,
    Source,
    Target,
    Tensor,
    copy_bytes,
    judge_promise,
    judged,
    numpy_dtype,
    sync,
    write_at,
)

_WEIGHTS_OF_KERAS = "model.weights.h5"
_DEEPEST = 64
_TWO_BYTES = h5py.h5t.py_create(numpy.dtype("V2"))  # as ml_dtypes.bfloat16, too


@dataclass(frozen=True)
class Dataset(Tensor):
    """A dataset that the HDF5 library has to read: in chunks, compressed, or never written."""

    path: Path
    chunks: tuple[int, ...] | None
    start: int = 0
    size: int = 0
    """Where the HDF5 file begins in ``path``, and how long it is."""

    def read(self, region: Region) -> Any:
        with (
            _judged(self.path, self.name),
            _opened(self.path, self.start, self.size) as file,
        ):
            block = file[self.name][region]
        dtype = numpy_dtype(self.dtype)
        return block.view(dtype) if block.dtype.kind == "V" else block.astype(dtype, copy=False)


def _judged(path: Path, name: str = "the file") -> AbstractContextManager[None]:
    """Return a context that raises all that h5py raises as :class:`DamagedFileError`.

    What h5py and the HDF5 library raise on damaged files is not documented.
    """
    return judged(path, f"{name} cannot be read")


@contextlib.contextmanager
def _opened(path: Path, start: int, size: int) -> Iterator[Any]:
    """Open the HDF5 file whose bytes are at ``start`` of ``path``."""
    if not start:
        with h5py.File(path, "r", locking=False) as opened:
            yield opened
        return
    with path.open("rb") as file, h5py.File(_Window(file, start, size), "r") as opened:
        yield opened


@dataclass
class Hdf5(FileSource):
    """An HDF5 file, opened."""

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        chosen = [t for t in selected if isinstance(t, Bytes)]
        if len(chosen) == len(selected):
            return Hdf5BytesTarget({self.path: content}, chosen, self)
        return Hdf5Target(self, content)


def open_hdf5(path: Path) -> Source:
    """Open an HDF5 file: its groups and datasets are listed."""
    return Hdf5(path, _listed(path, 0, path.stat().st_size))


def _listed(path: Path, start: int, size: int) -> dict[str, Tensor]:
    """Return the datasets of an HDF5 file whose bytes are at ``start`` of ``path``."""
    with _judged(path), _opened(path, start, size) as opened:
        tensors = {
            name: _tensor(name, entry, path, start, size)
            for name, entry in _datasets(opened, path, (), set())
        }
    _judge_places([t for t in tensors.values() if isinstance(t, Bytes)], path)
    return tensors


def _datasets(
    group: Any, path: Path, names: tuple[str, ...], seen: set[Any]
) -> Iterator[tuple[str, Any]]:
    """Return the datasets of a group and of those in it, each once; links are not followed."""
    if len(names) > _DEEPEST:
        raise DamagedFileError(path, f"has groups more than {_DEEPEST} deep")
    for name in group:
        if not isinstance(name, str):
            raise DamagedFileError(path, f"has a name that is not UTF-8: {name!r}")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        entry, whole = group[name], (*names, name)
        address = h5py.h5o.get_info(entry.id).addr
        if address in seen:
            continue
        seen.add(address)
        if isinstance(entry, h5py.Group):
            yield from _datasets(entry, path, whole, seen)
        elif isinstance(entry, h5py.Dataset):
            yield "/".join(whole), entry


def _tensor(name: str, entry: Any, path: Path, start: int, size: int) -> Tensor:
    kind = _kind(entry)
    shape = tuple(map(int, entry.shape or ()))
    plist = entry.id.get_create_plist()
    nbytes, itemsize = int(entry.id.get_storage_size()), entry.id.get_type().get_size()
    offset: Any = entry.id.get_offset() if nbytes else None  # of nothing it may be anything
    contiguous = plist.get_layout() == h5py.h5d.CONTIGUOUS and offset is not None
    if plist.get_layout() == h5py.h5d.VIRTUAL or entry.external:
        kind = f"{kind} of another file"
    if not contiguous:
        chunks = tuple(map(int, entry.chunks)) if entry.chunks else None
        if chunks and not all(0 < n < 2**32 for n in chunks):
            raise DamagedFileError(path, f"{name} has chunks of {chunks}")
        judge_promise(path, shape, chunks or tuple(max(1, n) for n in shape), itemsize, nbytes)
        return Dataset(name, shape, kind, path, chunks, start, size)
    fits = nbytes == math.prod(shape) * itemsize and offset + nbytes <= size
    if not fits and not entry.external:
        raise DamagedFileError(path, f"{name} does not lie inside of the file")
    big = entry.dtype.byteorder == ">"
    return Bytes(name, shape, kind, path, start + offset, big_endian=big, stored_bytes=nbytes)


def _kind(entry: Any) -> str:
    if entry.shape is None:
        return "empty"
    dtype, kind = entry.dtype, entry.id.get_type()
    if kind == _TWO_BYTES:
        return "bfloat16"  # as Keras writes it
    if dtype.kind == "f" and kind != h5py.h5t.py_create(dtype):
        return f"{dtype.name} of another format"
    return str(dtype.name if not dtype.names else "structured")


def _judge_places(tensors: list[Bytes], path: Path) -> None:
    places = sorted((t for t in tensors if t.nbytes), key=lambda tensor: tensor.offset)
    for a, b in itertools.pairwise(places):
        if a.offset + a.nbytes > b.offset:
            raise DamagedFileError(path, f"{a.name} and {b.name} lie in the same place")


def _judge_result(source: FileSource, content: Path, start: int = 0, size: int = 0) -> None:
    """Raise where the copy does not list the same: weights were written over its lists."""
    try:
        listed = _listed(content, start, size or content.stat().st_size)
    except DamagedFileError:
        listed = {}
    old, new = (
        {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        for tensors in (source.tensors, listed)
    )
    if old != new:
        raise DamagedFileError(source.path, "has weights in the same place as its lists")


@dataclass(frozen=True)
class Hdf5BytesTarget(BytesTarget):
    """A copy whose datasets are written as bytes."""

    source: Hdf5

    def finish(self) -> None:
        for content in self.copies.values():
            _judge_result(self.source, content)
        super().finish()


def _judge_chunks(path: Path, size: int) -> None:
    """Raise where chunks share a place: the HDF5 library may crash when they are written."""
    places = array("Q")  # start and length of each
    with _judged(path), _opened(path, 0, size) as file:
        for _, entry in _datasets(file, path, (), set()):
            if entry.chunks:
                entry.id.chunk_iter(lambda it: places.extend((it.byte_offset, it.size)))
    spans = numpy.frombuffer(places, "u8").reshape(-1, 2)
    if (spans > size).any():
        raise DamagedFileError(path, "has chunks that do not lie inside of the file")
    spans = spans[spans[:, 0].argsort()]
    if (spans[:-1].sum(axis=1) > spans[1:, 0]).any():
        raise DamagedFileError(path, "has chunks that lie in the same place")


class Hdf5Target(Target):
    """A copy of the file, into which the HDF5 library writes, one chunk after the other."""

    shared = False

    def __init__(self, opened: Hdf5, content: Path) -> None:
        self.opened, self.source, self.content = opened, opened.path, content
        self.file: Any = None
        self.dataset: Any = None
        self.name: str | None = None

    def prepare(self, progress: Progress) -> None:
        size = self.source.stat().st_size
        _judge_chunks(self.source, size)
        copy_bytes(self.source, self.content, [(0, size)], progress)
        with _judged(self.source):
            self.file = h5py.File(self.content, "r+", locking=False)

    def write(self, tensor: Tensor, region: Region, block: Any) -> None:
        with _judged(self.source, tensor.name):
            self._write(tensor, region, block)

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

    def sync(self) -> None:
        sync(self.content)

    def finish(self) -> None:
        with _judged(self.source):
            self._flush()
            self._close()
        _judge_result(self.opened, self.content)
        self.sync()

    def abandon(self) -> None:
        with contextlib.suppress(Exception):  # it is given up
            self._close()

    def _flush(self) -> None:
        """Write the chunks that are held: an error when a dataset is closed would be lost."""
        if self.dataset is not None:
            self.dataset.flush()

    def _close(self) -> None:
        self.dataset = None
        if self.file:
            self.file.close()


class _Window(io.RawIOBase):
    """A part of a file as a file, for the HDF5 library to read its lists from."""

    def __init__(self, file: Any, start: int, size: int) -> None:
        self.file, self.first, self.size, self.at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        self.at = base + offset
        return self.at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self.size - self.at))
        piece = os.pread(self.file.fileno(), length, self.first + self.at)
        buffer[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


@dataclass
class Keras(FileSource):
    """A ``.keras`` archive, opened: in it the weights are an HDF5 file, not compressed."""

    start: int = 0
    size: int = 0
    """Where the HDF5 file begins in the archive, and how long it is."""
    checksum: int = 0
    places: Sequence[int] = ()
    """The checksum of that file, and where it stands in the archive."""

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        for tensor in selected:
            if not isinstance(tensor, Bytes):
                raise ValueError(
                    f"{self.path}: {tensor.name} is in chunks, which is not written inside of "
                    "an archive: save the weights alone, with model.save_weights"
                )
        chosen = [t for t in selected if isinstance(t, Bytes)]
        return KerasTarget({self.path: content}, chosen, self)


def open_keras(path: Path) -> Source:
    """Open a ``.keras`` archive: its list of members and that of its weights are read."""
    with reading(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in members_of(archive, path)}
        member = members.get(_WEIGHTS_OF_KERAS)
        if member is None:
            raise DamagedFileError(path, f"has no {_WEIGHTS_OF_KERAS}")
        archive.open(member).close()  # which judges the header there
        lengths = struct.unpack("<HH", os.pread(file.fileno(), 4, member.header_offset + 26))
        start, size = member.header_offset + 30 + sum(lengths), member.file_size
        stored = member.compress_type == zipfile.ZIP_STORED
        if not stored or member.compress_size != size:
            raise ValueError("its weights are compressed: save it with Keras, which does not")
        following = [info.header_offset for info in members.values()]
        following = [at for at in following if at > member.header_offset]
        if start + size > min([*following, archive.start_dir]):
            raise ValueError(f"something else lies in {_WEIGHTS_OF_KERAS}")
        places = _places_of_checksum(file.fileno(), member, start, archive.start_dir)
    return Keras(path, _listed(path, start, size), start, size, member.CRC, places)


def _places_of_checksum(file: int, member: zipfile.ZipInfo, start: int, at: int) -> list[int]:
    """Return where the checksum stands: before the member or behind it, and in the list.

    Source: PKWARE's APPNOTE.TXT 6.3.10, 4.3.7, 4.3.9 and 4.3.12.
    """
    places = [member.header_offset + 14]
    if member.flag_bits & 8:  # a data descriptor, with or without a signature
        behind = start + member.file_size
        places = [behind + 4 * (os.pread(file, 4, behind) == b"PK\x07\x08")]
    while (entry := os.pread(file, 46, at))[:4] == b"PK\x01\x02":
        name, extra, comment = struct.unpack("<HHH", entry[28:34])
        if os.pread(file, name, at + 46) == _WEIGHTS_OF_KERAS.encode():
            places.append(at + 16)
        at += 46 + name + extra + comment
    found = [os.pread(file, 4, place) for place in places]
    if len(found) != 2 or set(found) != {struct.pack("<I", member.CRC)}:
        raise ValueError(f"the checksum of {_WEIGHTS_OF_KERAS} is not where it should be")
    return places


@dataclass(frozen=True)
class KerasTarget(BytesTarget):
    """An archive of the same length, the checksum of the weights in it made new."""

    source: Keras

    def prepare(self, progress: Progress) -> None:
        (source,) = self.copies
        if self._checksum(source) != self.source.checksum:
            raise DamagedFileError(source, f"the checksum of {_WEIGHTS_OF_KERAS} is wrong")
        super().prepare(progress)

    def finish(self) -> None:
        (content,) = self.copies.values()
        checksum = struct.pack("<I", self._checksum(content))
        with content.open("r+b", buffering=0) as file:
            for at in self.source.places:
                write_at(file.fileno(), at, checksum)
        _judge_result(self.source, content, self.source.start, self.source.size)
        super().finish()

    def _checksum(self, path: Path) -> int:
        checksum, stop = 0, self.source.start + self.source.size
        with path.open("rb", buffering=0) as file:
            for at in range(self.source.start, stop, PIECE):
                piece = os.pread(file.fileno(), min(PIECE, stop - at), at)
                checksum = zlib.crc32(piece, checksum)
        return checksum
