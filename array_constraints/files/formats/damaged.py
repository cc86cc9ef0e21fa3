"""The error for damaged files: it names the file, whatever a library raises."""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_LONGEST_REASON = 400
"""Characters of a reason that are shown: libraries may repeat what is in the file."""
_UNSTORED = 2**32
"""Bytes that an array may have though nothing of them is stored: they were never written."""
_COMPRESSED = 2**15
"""The highest ratio at which a compressor packs an array of equal entries."""
_LEAST_CHUNK = 2**12
"""Bytes that could be read in the time that it takes to find a chunk."""


def printable(said: str) -> str:
    """Escape characters of a message that are no text, or would control a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in said)


class DamagedFileError(ValueError):
    """A file that is not what its format asks for; the message names the file."""

    def __init__(self, path: Path | str, reason: object) -> None:
        super().__init__(printable(f"{path}: {str(reason)[:_LONGEST_REASON]}"))

    def __reduce__(self) -> Any:
        return (type(self).__new__, (type(self), *self.args))  # the text is whole already


@contextlib.contextmanager
def as_damaged_file(
    path: Path, what: str, errors: tuple[type[Exception], ...] = (Exception,)
) -> Iterator[None]:
    """Raise what a library raises on a damaged file as :class:`DamagedFileError`.

    What the system raises stays as it is: the disk is full, the file may not be read.
    """
    try:
        yield
    except errors as error:
        of_the_system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
        if of_the_system or isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(path, f"{what}: {str(error) or type(error).__name__}") from error


def refuse_implausible_size(
    path: Path, shape: Sequence[int], chunks: Sequence[int], itemsize: int, stored: int
) -> None:
    """Raise where a header promises far more than is stored, which nobody could wait for."""
    counts = [max(1, -(-n // chunk)) for n, chunk in zip(shape, chunks, strict=True)]
    promised = math.prod(counts) * max(math.prod(chunks) * itemsize, _LEAST_CHUNK)
    if promised > max(_UNSTORED, _COMPRESSED * stored):
        raise DamagedFileError(
            path, f"has {stored} bytes of shape {tuple(shape)} in chunks of {tuple(chunks)}"
        )
