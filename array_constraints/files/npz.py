"""NumPy's ``.npz``: a ZIP archive of ``.npy``, compressed or not, used as a stream."""

from __future__ import annotations

import contextlib
import copy
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from array_constraints.files.grid import Region
from array_constraints.files.npy import read_header
from array_constraints.files.permissions import make_file
from array_constraints.files.stored import (
    PIECE,
    Bytes,
    DamagedFileError,
    Progress,
    Source,
    Target,
    Tensor,
    judged,
    sync,
)

_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
    OverflowError, OSError,
)  # fmt: skip
"""What the ZIP library raises on damaged archives."""

_LEAST_COMPRESSED = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
"""How many times smaller a method makes its bytes at most; NumPy writes by no other."""


def reading(path: Path, what: str = "the archive") -> AbstractContextManager[None]:
    """Return a context that raises what the ZIP library raises as :class:`DamagedFileError`."""
    return judged(path, f"{what} cannot be read", _ERRORS)


@dataclass(frozen=True)
class Member(Bytes):
    """An array in a member of an archive, a stream: its checksum is judged at the end."""

    member: str = ""
    stream: list[Any] = field(default_factory=list, compare=False, repr=False)
    """The member, where it was last read: the next region most often follows."""
    shared = False

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        with reading(self.path, self.member):
            if not self.stream:
                archive = zipfile.ZipFile(self.path)
                self.stream.append(archive)
                self.stream.insert(0, archive.open(self.member))
            yield self.stream[0]

    def _read_at(self, file: Any, at: int, piece: memoryview) -> None:
        file.seek(at)
        read_all(file, piece)

    def spooled(self, content: Path) -> Bytes:
        """Return a file for what cannot be written in the order of the archive."""
        spool = content.with_name("spool")
        make_file(spool)
        known = {entry.name: getattr(self, entry.name) for entry in fields(Bytes)}
        return Bytes(**{**known, "path": spool, "offset": 0})

    def close(self) -> None:
        """Close the member and its archive."""
        while self.stream:
            self.stream.pop(0).close()


def read_all(file: Any, piece: memoryview) -> None:
    """Fill ``piece`` from a stream."""
    done = 0
    while done < len(piece):
        got = file.readinto(piece[done : done + PIECE])
        if not got:
            raise EOFError("ends before its header says")
        done += got


@dataclass
class Npz(Source):
    """An archive, opened."""

    path: Path
    members: dict[str, str]
    """The member of each tensor."""
    tensors: dict[str, Tensor]

    @property
    def files(self) -> list[Path]:  # type: ignore[override]
        return [self.path]

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        return NpzTarget(self, [t for t in selected if isinstance(t, Member)], content)

    def __exit__(self, *error: object) -> None:
        for tensor in self.tensors.values():
            if isinstance(tensor, Member):
                tensor.close()


def open_npz(path: Path) -> Source:
    """Open a ``.npz`` archive: its list of members and their headers are read."""
    members: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    with reading(path), zipfile.ZipFile(path) as archive:
        for info in members_of(archive, path):
            _judge_size(info, path)
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                continue  # passed through
            with reading(path, name), archive.open(info) as member:
                header = read_header(member, path, name, info.file_size)
            members[name] = info.filename
            tensors[name] = Member(**vars(header), member=info.filename)
    return Npz(path, members, tensors)


def _judge_size(info: zipfile.ZipInfo, path: Path) -> None:
    most = _LEAST_COMPRESSED.get(info.compress_type)
    if most is None:
        raise DamagedFileError(
            path, f"{info.filename} is compressed in a way that NumPy does not use"
        )
    if info.file_size > most * info.compress_size:
        raise DamagedFileError(path, f"{info.filename} promises {info.file_size} bytes")


def members_of(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """Return the members of an archive: each has a name, a place and no password."""
    infos, size = archive.infolist(), path.stat().st_size
    if len({info.filename for info in infos}) < len(infos):
        raise DamagedFileError(path, "two members of the archive have the same name")
    for info in infos:
        if info.flag_bits & 1:
            raise DamagedFileError(path, f"{info.filename} is encrypted")
        if info.filename != info.orig_filename:
            raise DamagedFileError(
                path, f"{info.filename} has another name, {info.orig_filename}"
            )
        if info.header_offset < 0 or info.header_offset + info.compress_size > size:
            raise DamagedFileError(path, f"{info.filename} does not lie inside of the archive")
    return infos


class NpzTarget(Target):
    """A new archive, written from its first member to its last."""

    shared = False

    def __init__(self, source: Npz, selected: Sequence[Member], content: Path) -> None:
        self.source, self.content = source, content
        self.selected = {tensor.name: tensor for tensor in selected}
        self.stack = contextlib.ExitStack()
        self.name: str | None = None
        self.writer: Any = None
        self.spool: Bytes | None = None

    def prepare(self, progress: Progress) -> None:
        self.progress = progress
        with reading(self.source.path):
            self.old = self.stack.enter_context(zipfile.ZipFile(self.source.path))
        make_file(self.content)
        self.new = self.stack.enter_context(zipfile.ZipFile(self.content, "w"))
        self.new.comment = self.old.comment
        self.left = list(self.old.infolist())

    def write(self, tensor: Tensor, region: Region, block: Any) -> None:
        member = self.selected[tensor.name]
        if self.name != member.name:
            self._begin(member)
            in_order = len(list(member.pieces(region, block))) == 1
            self.spool = None if in_order else member.spooled(self.content)
        if self.spool is not None:
            self.spool.write(region, block)
            return
        block = member.as_stored(block)
        for _, piece in member.pieces(region, block):
            self.writer.write(piece)

    def _begin(self, tensor: Member) -> None:
        """Copy the members before that of a tensor, then its header."""
        self._end()
        while self.left[0].filename != tensor.member:
            self._copy(self.left.pop(0))
        info = self.left.pop(0)
        with reading(self.source.path, info.filename), self.old.open(info) as member:
            header = member.read(info.file_size - tensor.nbytes)
        self.writer = self.new.open(_like(info), "w", force_zip64=info.file_size >= 2**30)
        self.writer.write(header)
        self.name = tensor.name

    def _copy(self, info: zipfile.ZipInfo) -> None:
        force = info.file_size >= 2**30
        with (
            reading(self.source.path, info.filename),
            self.old.open(info) as old,
            self.new.open(_like(info), "w", force_zip64=force) as new,
        ):
            while piece := old.read(PIECE):
                new.write(piece)
                self.progress(2 * len(piece))

    def _end(self) -> None:
        if self.spool is not None:
            with self.spool.path.open("rb") as file:
                while piece := file.read(PIECE):
                    self.writer.write(piece)
            self.spool.path.unlink()
        if self.writer is not None:
            self.writer.close()
        self.name = self.writer = self.spool = None

    def sync(self) -> None:
        sync(self.content)

    def finish(self) -> None:
        self._end()
        while self.left:
            self._copy(self.left.pop(0))
        self.stack.close()
        self.sync()

    def abandon(self) -> None:
        for opened in (self.writer, self.stack):
            with contextlib.suppress(*_ERRORS, AttributeError):  # it is given up
                opened.close()


def _like(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Return what describes a member, without what depends on its bytes."""
    new = copy.copy(info)
    new.CRC = new.compress_size = new.file_size = new.header_offset = 0
    new.extra, new.flag_bits = b"", info.flag_bits & 0x800
    return new
