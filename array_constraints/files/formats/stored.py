"""Members of a ZIP archive that are not compressed: their bytes are written in place.

Only their checksums are then others; they are made anew where they stand.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.disk import COPIED_AT_ONCE, Progress, write_at
from array_constraints.files.formats.raw import RawTarget
from array_constraints.files.formats.zipped import local_of


@dataclass(frozen=True)
class Stored:
    """A member that is not compressed: where its bytes and its checksum are."""

    name: str
    start: int
    size: int
    checksum: int
    places: tuple[int, ...]
    """Where the checksum stands: before the member or behind it, and in the list of members."""

    @property
    def stop(self) -> int:
        """Where its bytes end."""
        return self.start + self.size

    def computed(self, path: Path) -> int:
        """Return the checksum of its bytes in a file."""
        checksum = 0
        with path.open("rb", buffering=0) as file:
            for at in range(self.start, self.stop, COPIED_AT_ONCE):
                buffer = os.pread(file.fileno(), min(COPIED_AT_ONCE, self.stop - at), at)
                checksum = zlib.crc32(buffer, checksum)
        return checksum


def is_stored(info: zipfile.ZipInfo) -> bool:
    """Whether a member is neither compressed nor encrypted."""
    return not info.flag_bits & 1 and info.compress_type == zipfile.ZIP_STORED


def stored_in(
    file: int, archive: zipfile.ZipFile, infos: Iterable[zipfile.ZipInfo]
) -> Iterator[Stored]:
    """Return where members lie, in which nothing else lies, and where their checksums stand.

    Source: PKWARE's APPNOTE.TXT 6.3.10, 4.3.7, 4.3.9 and 4.3.12.

    Raises
    ------
    ValueError
        If a member has two sizes or a checksum that is not in its place, or holds another.
    """
    begins = sorted([*(info.header_offset for info in archive.infolist()), archive.start_dir])
    following = dict(zip(begins, [*begins[1:], archive.start_dir], strict=True))
    listed = _listed(file, archive.start_dir)
    for info in infos:
        name = info.filename
        start, _ = local_of(file, info)
        if info.compress_size != info.file_size:
            raise ValueError(f"{name} has two sizes")
        if start + info.file_size > following[info.header_offset]:
            raise ValueError(f"something else lies in {name}")
        place = info.header_offset + 14
        if info.flag_bits & 8:  # a data descriptor, with or without a signature
            place = start + info.file_size
            place += 4 * (os.pread(file, 4, place) == b"PK\x07\x08")
        places = (place, *listed.get(name.encode(), ()))
        found = [os.pread(file, 4, at) for at in places]
        if len(found) != 2 or set(found) != {struct.pack("<I", info.CRC)}:
            raise ValueError(f"the checksum of {name} is not where it should be")
        yield Stored(name, start, info.file_size, info.CRC, places)


def _listed(file: int, at: int) -> dict[bytes, list[int]]:
    """Return where the list of members, which begins at ``at``, has the checksum of each."""
    found: dict[bytes, list[int]] = {}
    while (entry := os.pread(file, 46, at))[:4] == b"PK\x01\x02":
        name, extra, comment = struct.unpack("<HHH", entry[28:34])
        found.setdefault(os.pread(file, name, at + 46), []).append(at + 16)
        at += 46 + name + extra + comment
    return found


@dataclass(frozen=True)
class StoredTarget(RawTarget):
    """An archive of the same length, the checksums of what is written in it made new."""

    members: Sequence[Stored] = ()

    def prepare(self, progress: Progress) -> None:
        (source,) = self.copies
        for member in self.members:
            if member.checksum != member.computed(source):
                raise DamagedFileError(source, f"the checksum of {member.name} is wrong")
        super().prepare(progress)

    def finish(self) -> None:
        (content,) = self.copies.values()
        with content.open("r+b", buffering=0) as file:
            for member in self.members:
                checksum = struct.pack("<I", member.computed(content))
                for at in member.places:
                    write_at(file.fileno(), at, checksum)
        super().finish()
