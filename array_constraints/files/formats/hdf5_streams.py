"""File objects for the HDF5 library: a window on a file to read, and a sink for writes."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from array_constraints.files.formats.disk import write_at


class _Positioned(io.RawIOBase):
    """A file with a position."""

    at = 0

    @property
    def size(self) -> int:
        """The length of the file."""
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        self.at = base + offset
        return self.at


class Window(_Positioned):
    """A part of a file as a file, for the HDF5 library to read its lists from."""

    def __init__(self, file: Any, start: int, size: int) -> None:
        self.file, self.first, self.length = file, start, size

    @property
    def size(self) -> int:
        return self.length

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self.length - self.at))
        piece = os.pread(self.file.fileno(), length, self.first + self.at)
        buffer[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


class Sink(_Positioned):
    """A file that takes all that is written: what the system refuses is held in memory.

    ``error`` is what the system said first, naming the file. Who writes looks there, and stops:
    what is held afterwards is what the library has in its caches.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None
        self.held: list[tuple[int, bytes]] = []
        self.length = path.stat().st_size
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        return self.length

    def writable(self) -> bool:
        return True

    def write(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self.error is None:
            try:
                write_at(self.descriptor, self.at, view)
            except OSError as error:
                self._failed(error)
        if self.error is not None:
            self.held.append((self.at, bytes(view)))
        self.at += len(view)
        self.length = max(self.length, self.at)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self.length - self.at))
        view[:length] = os.pread(self.descriptor, length, self.at).ljust(length, b"\0")
        for start, piece in self.held:
            first, last = max(start, self.at), min(start + len(piece), self.at + length)
            if first < last:
                view[first - self.at : last - self.at] = piece[first - start : last - start]
        self.at += length
        return length

    def truncate(self, size: int | None = None) -> int:
        self.length = self.at if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self.descriptor, self.length)
            except OSError as error:
                self._failed(error)
        return self.length

    def close(self) -> None:
        if not self.closed:
            os.close(self.descriptor)
        super().close()

    def _failed(self, error: OSError) -> None:
        error.filename = os.fspath(self.path)
        self.error = error
