"""Files on a disk: made for their owner alone, copied, written at a place, and synced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from array_constraints.files.formats.damaged import DamagedFileError

Progress: TypeAlias = Callable[[int], None]
"""Called with the bytes that were read and written since the last call."""

COPIED_AT_ONCE = 2**23
"""Bytes that are copied at a time: 8 MiB, beside which a call of the system takes no time."""


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in errors of the system that have no name, such as that a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def make_file(path: Path) -> None:
    """Make an empty file that nobody else may open; there must be none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(path, flags, 0o600))


def make_folder(path: Path) -> None:
    """Make a folder, and those that it lies in, that nobody else may open."""
    if not path.is_dir():
        make_folder(path.parent)
        with contextlib.suppress(FileExistsError):  # another thread was faster
            path.mkdir(0o700)


def write_at(descriptor: int, at: int, buffer: memoryview | bytes) -> None:
    """Write all of ``buffer`` to a place in a file."""
    view, done = memoryview(buffer), 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done : done + 2**30], at + done)


def copy_bytes(
    source: Path, copy: Path, ranges: Sequence[tuple[int, int]], progress: Progress
) -> None:
    """Make a file of the size of ``source``, with its bytes in some ranges.

    If the file is there, left from a run that was stopped, bytes that are right in it stay.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with (
        source.open("rb", buffering=0) as old,
        os.fdopen(os.open(copy, flags, 0o600), "r+b", 0) as new,
    ):
        size, left = os.fstat(old.fileno()).st_size, os.fstat(new.fileno()).st_size
        if left > size:
            new.truncate(size)
        if size:
            with naming(copy):
                os.posix_fallocate(new.fileno(), 0, size)
        for start, stop in ranges:
            for at in range(start, stop, COPIED_AT_ONCE):
                count = min(COPIED_AT_ONCE, stop - at)
                with naming(source):
                    buffer = os.pread(old.fileno(), count, at)
                if len(buffer) < count:
                    raise DamagedFileError(source, "became shorter while it was read")
                with naming(copy):
                    if not (left and os.pread(new.fileno(), count, at) == buffer):
                        write_at(new.fileno(), at, buffer)
                progress(2 * count)


def sync(path: Path) -> None:
    """Return once a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
