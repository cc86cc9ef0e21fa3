"""The ``.npz`` format of NumPy: a ZIP archive of ``.npy``, packed or not, used as a stream."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from array_constraints.executors.grid import Region
from array_constraints.files.formats.base import Source, Target, Tensor
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.disk import (
    COPIED_AT_ONCE,
    Progress,
    make_file,
    naming,
    sync,
)
from array_constraints.files.formats.npy_header import read_header
from array_constraints.files.formats.raw import RawTensor
from array_constraints.files.formats.zipped import (
    ERRORS,
    anew,
    copy_member,
    fault_of,
    members_of,
    zip_errors,
)


@dataclass(frozen=True)
class Member(RawTensor):
    """An array in a member of an archive, a stream: its checksum is checked at the end."""

    member: str = ""
    stream: list[Any] = field(default_factory=list, compare=False, repr=False)
    """The member, where it was last read: the next region most often follows."""
    shared = False

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        with zip_errors(self.path, self.member):
            if not self.stream:
                archive = zipfile.ZipFile(self.path)
                self.stream.append(archive)
                self.stream.insert(0, archive.open(self.member))
            yield self.stream[0]

    def _read_at(self, file: Any, at: int, buffer: memoryview) -> None:
        file.seek(at)
        fill(file, buffer)

    def spooled(self, content: Path) -> RawTensor:
        """Return a file for what cannot be written in the order of the archive."""
        spool = content.with_name("spool")
        make_file(spool)
        known = {entry.name: getattr(self, entry.name) for entry in fields(RawTensor)}
        return RawTensor(**{**known, "path": spool, "offset": 0})

    def close(self) -> None:
        """Close the member and its archive."""
        while self.stream:
            self.stream.pop(0).close()


def fill(file: Any, buffer: memoryview) -> None:
    """Fill ``buffer`` from a stream."""
    done = 0
    while done < len(buffer):
        got = file.readinto(buffer[done : done + COPIED_AT_ONCE])
        if not got:
            raise EOFError("ends before its header says")
        done += got


@dataclass
class Npz(Source):
    """An ``.npz`` archive, opened."""

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


def open_source(path: Path) -> Source:
    """Open a ``.npz`` archive: its list of members and their headers are read."""
    members: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    with zip_errors(path), zipfile.ZipFile(path) as archive:
        for info in members_of(archive, path):
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                continue  # passed through
            tensors[name] = _member(archive, info, name, path)
            if name in members:  # readers differ in which they take
                fault = ValueError(f"{path}: two members are named {info.filename}")
                tensors[name] = replace(tensors[name], fault=fault)
            members[name] = info.filename
    return Npz(path, members, tensors)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, path: Path) -> Member:
    """Return an array as its header has it; one that cannot be read says so when selected."""
    fault = fault_of(info, path)
    if fault is None:
        try:
            with zip_errors(path, name), archive.open(info) as member:
                header = read_header(member, path, name, info.file_size)
            return Member(**vars(header), member=info.filename)
        except DamagedFileError as error:
            fault = error
    return Member(name, (), "unknown", path, 0, stored_bytes=info.file_size, fault=fault)


class NpzTarget(Target):
    """A new archive, written from its first member to its last."""

    shared = False

    def __init__(self, source: Npz, selected: Sequence[Member], content: Path) -> None:
        self.source, self.content = source, content
        self.selected = {tensor.name: tensor for tensor in selected}
        self.stack = contextlib.ExitStack()
        self.name: str | None = None
        self.writer: Any = None
        self.spool: RawTensor | None = None

    def prepare(self, progress: Progress) -> None:
        self.progress = progress
        with zip_errors(self.source.path):
            self.old = self.stack.enter_context(zipfile.ZipFile(self.source.path))
        make_file(self.content)
        self.new = self.stack.enter_context(zipfile.ZipFile(self.content, "w"))
        self.new.comment = self.old.comment
        self.left = list(self.old.infolist())

    def write(self, tensor: Tensor, region: Region, block: Any) -> None:
        with naming(self.content):
            self._write(self.selected[tensor.name], region, block)

    def _write(self, member: Member, region: Region, block: Any) -> None:
        if self.name != member.name:
            self._begin(member)
            in_order = len(list(member.buffers(region, block))) == 1
            self.spool = None if in_order else member.spooled(self.content)
        if self.spool is not None:
            self.spool.write(region, block)
            return
        block = member.as_stored(block)
        for _, buffer in member.buffers(region, block):
            self.writer.write(buffer)

    def _begin(self, tensor: Member) -> None:
        """Copy the members before that of a tensor, then its header."""
        self._end()
        while self.left[0].filename != tensor.member:
            self._copy(self.left.pop(0))
        info = self.left.pop(0)
        path = self.source.path
        with naming(path), zip_errors(path, info.filename), self.old.open(info) as member:
            header = member.read(info.file_size - tensor.nbytes)
        self.writer = self.new.open(anew(info), "w", force_zip64=info.file_size >= 2**30)
        self.writer.write(header)
        self.name = tensor.name

    def _copy(self, info: zipfile.ZipInfo) -> None:
        with naming(self.content), zip_errors(self.source.path, info.filename):
            for count in copy_member(info, self.source.path, self.new):
                self.progress(2 * count)

    def _end(self) -> None:
        if self.spool is not None:
            with self.spool.path.open("rb") as file:
                while buffer := file.read(COPIED_AT_ONCE):
                    self.writer.write(buffer)
            self.spool.path.unlink()
        if self.writer is not None:
            self.writer.close()
        self.name = self.writer = self.spool = None

    def sync(self) -> None:
        sync(self.content)

    def finish(self) -> None:
        with naming(self.content):
            self._end()
            while self.left:
                self._copy(self.left.pop(0))
            self.stack.close()
        self.sync()

    def abandon(self) -> None:
        for opened in (self.writer, self.stack):
            with contextlib.suppress(*ERRORS, AttributeError):  # it is given up
                opened.close()
