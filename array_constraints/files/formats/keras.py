"""The ``.keras`` format: a ZIP archive with the weights as an HDF5 file, not compressed."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from array_constraints.files.formats.base import Target, Tensor
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.disk import COPIED_AT_ONCE, Progress, write_at
from array_constraints.files.formats.hdf5_datasets import check_same_listing, listed
from array_constraints.files.formats.raw import FileSource, RawTarget, RawTensor
from array_constraints.files.formats.zipped import local_of, members_of, zip_errors

_WEIGHTS = "model.weights.h5"


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
            if not isinstance(tensor, RawTensor):
                raise ValueError(
                    f"{self.path}: {tensor.name} is in chunks, which is not written inside of "
                    "an archive: save the weights alone, with model.save_weights"
                )
        chosen = [t for t in selected if isinstance(t, RawTensor)]
        return KerasTarget({self.path: content}, chosen, self)


def open_source(path: Path) -> Keras:
    """Open a ``.keras`` archive: its list of members and that of its weights are read."""
    with zip_errors(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        infos = members_of(archive, path)
        found = [info for info in infos if info.filename == _WEIGHTS]
        if len(found) != 1:
            raise DamagedFileError(path, f"has {len(found)} members {_WEIGHTS}")
        (member,) = found
        packed = member.flag_bits & 1 or member.compress_type != zipfile.ZIP_STORED
        if not packed:
            archive.open(member).close()  # which checks the header there
            start, size = _place(file.fileno(), archive, member), member.file_size
            places = _places_of_checksum(file.fileno(), member, start, archive.start_dir)
    if packed:
        raise ValueError(
            f"{path}: {_WEIGHTS} in it is compressed or encrypted, which is not read: "
            "save the model with Keras, which does neither"
        )
    return Keras(path, listed(path, start, size), start, size, member.CRC, places)


def _place(file: int, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Return where the weights begin, in which nothing else lies."""
    start, _ = local_of(file, member)
    following = [info.header_offset for info in archive.infolist()]
    following = [at for at in following if at > member.header_offset]
    if member.compress_size != member.file_size:
        raise ValueError(f"{_WEIGHTS} has two sizes")
    if start + member.file_size > min([*following, archive.start_dir]):
        raise ValueError(f"something else lies in {_WEIGHTS}")
    return start


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
        if os.pread(file, name, at + 46) == _WEIGHTS.encode():
            places.append(at + 16)
        at += 46 + name + extra + comment
    found = [os.pread(file, 4, place) for place in places]
    if len(found) != 2 or set(found) != {struct.pack("<I", member.CRC)}:
        raise ValueError(f"the checksum of {_WEIGHTS} is not where it should be")
    return places


@dataclass(frozen=True)
class KerasTarget(RawTarget):
    """An archive of the same length, the checksum of the weights in it made new."""

    source: Keras

    def prepare(self, progress: Progress) -> None:
        (source,) = self.copies
        if self._checksum(source) != self.source.checksum:
            raise DamagedFileError(source, f"the checksum of {_WEIGHTS} is wrong")
        super().prepare(progress)

    def finish(self) -> None:
        (content,) = self.copies.values()
        checksum = struct.pack("<I", self._checksum(content))
        with content.open("r+b", buffering=0) as file:
            for at in self.source.places:
                write_at(file.fileno(), at, checksum)
        check_same_listing(self.source, content, self.source.start, self.source.size)
        super().finish()

    def _checksum(self, path: Path) -> int:
        checksum, stop = 0, self.source.start + self.source.size
        with path.open("rb", buffering=0) as file:
            for at in range(self.source.start, stop, COPIED_AT_ONCE):
                buffer = os.pread(file.fileno(), min(COPIED_AT_ONCE, stop - at), at)
                checksum = zlib.crc32(buffer, checksum)
        return checksum
