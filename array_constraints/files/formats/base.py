"""What every format gives: tensors that are read by region, and targets to write them to."""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

from array_constraints.files.delivery.permissions import make_folder
from array_constraints.files.grid import Region
from array_constraints.numerics.formats import FORMATS

Progress: TypeAlias = Callable[[int], None]
"""Called with the bytes that were read and written since the last call."""

PIECE = 2**23
"""Bytes that are copied at a time."""

_LONGEST_REASON = 400
_UNSTORED = 2**32
"""Bytes that an array may have though nothing of them is stored: they were never written."""
_COMPRESSED = 2**15
"""How many times smaller a compressor makes what is all the same."""
_LEAST_CHUNK = 2**12
"""Bytes that could be read in the time that it takes to find a chunk."""


def printable(said: str) -> str:
    """Return a message with all escaped that is no text, or would speak to a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in said)


class DamagedFileError(ValueError):
    """A file that is not what its format asks for; the message names the file."""

    def __init__(self, path: Path | str, reason: object) -> None:
        super().__init__(printable(f"{path}: {str(reason)[:_LONGEST_REASON]}"))

    def __reduce__(self) -> Any:
        return (type(self).__new__, (type(self), *self.args))  # the text is whole already


@contextlib.contextmanager
def judged(
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


def judge_promise(
    path: Path, shape: Sequence[int], chunks: Sequence[int], itemsize: int, stored: int
) -> None:
    """Raise where a header promises far more than is stored: to read it would never end."""
    counts = [max(1, -(-n // chunk)) for n, chunk in zip(shape, chunks, strict=True)]
    promised = math.prod(counts) * max(math.prod(chunks) * itemsize, _LEAST_CHUNK)
    if promised > max(_UNSTORED, _COMPRESSED * stored):
        raise DamagedFileError(
            path, f"has {stored} bytes of shape {tuple(shape)} in chunks of {tuple(chunks)}"
        )


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in what the system raises without a name, such as that a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


@dataclass(frozen=True)
class Tensor(ABC):
    """A named array in a file, read by region; a value, so that other processes can read it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """The name of a NumPy or ml_dtypes dtype; else what the format calls it."""
    fault: ValueError | None = field(default=None, kw_only=True, compare=False, repr=False)
    """Why it can be neither read nor written: nothing to anybody who does not select it."""

    chunks = cast("tuple[int, ...] | None", None)
    """The lengths of the chunks of the file, if it has any."""
    shared = True
    """Whether regions may be read in any order, by any thread or process."""
    by_part = False
    """Whether a part of a region is read and written as fast as the region."""

    @property
    def order(self) -> tuple[int, ...]:
        """The dimensions from the slowest to the fastest in the file."""
        return tuple(range(len(self.shape)))

    @property
    def supported(self) -> bool:
        """Whether constraints can be applied: the dtype is a real floating one."""
        return self.dtype in FORMATS

    @property
    def entries(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return 8 if self.dtype == "float64" else 4 if self.dtype == "float32" else 2

    @property
    def nbytes(self) -> int:
        """The bytes of its entries, uncompressed; of supported dtypes only."""
        return self.entries * self.itemsize

    def judge(self, to_project: bool) -> None:
        """Raise ValueError where a selected tensor cannot be read, or not be written as it is.

        What is written is not what is read back where a codec rounds.
        """
        if self.fault is not None:
            raise self.fault.with_traceback(None)

    @abstractmethod
    def read(self, region: Region) -> Any:
        """Return a new NumPy array of a region, in the byte order of this machine."""

    def write(self, region: Region, block: Any) -> None:
        """Write a region."""
        raise NotImplementedError(f"{self.name} is written by its target")

    def sync(self) -> None:
        """Return once everything that was written is on the disk."""
        raise NotImplementedError(f"{self.name} is written by its target")


def numpy_dtype(name: str) -> Any:
    """Return the NumPy dtype of a supported name."""
    import numpy

    if name == "bfloat16":
        import ml_dtypes

        return numpy.dtype(ml_dtypes.bfloat16)
    return numpy.dtype(name)


@dataclass(frozen=True)
class Bytes(Tensor):
    """A tensor whose entries lie one behind the other in a file, from ``offset`` on."""

    path: Path
    offset: int
    big_endian: bool = False
    fortran: bool = False
    """Whether the first dimension is the fastest, not the last."""
    by_part = True
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
            for at, piece in self.pieces(region, block):
                self._read_at(file, at, piece)
        if self.big_endian:
            block.view(f"u{self.itemsize}").byteswap(inplace=True)
        return block.T if self.fortran else block

    def write(self, region: Region, block: Any) -> None:
        block = self.as_stored(block)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            with naming(self.path):
                for at, piece in self.pieces(region, block):
                    write_at(descriptor, at, piece)
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

    def _read_at(self, file: Any, at: int, piece: memoryview) -> None:
        done = 0
        while done < len(piece):
            got = os.preadv(file, [piece[done : done + 2**30]], at + done)
            if not got:
                raise DamagedFileError(self.path, "became shorter while it was read")
            done += got

    def pieces(self, region: Region, block: Any) -> Iterator[tuple[int, memoryview]]:
        """Return the place in the file of each run of bytes, and its part of ``block``."""
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


def write_at(descriptor: int, at: int, piece: memoryview | bytes) -> None:
    """Write all of ``piece`` to a place in a file."""
    view, done = memoryview(piece), 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done : done + 2**30], at + done)


class Target(ABC):
    """A copy of the source in the making: everything but the selected tensors is the same.

    The regions of a *shared* target are written by ``written(tensor).write``, in any order, by
    any thread or process, and again if need be. The others are streams, which one thread fills
    with ``write``: tensors in the order of the file, regions in the order of the panels.
    """

    shared = True

    @abstractmethod
    def prepare(self, progress: Progress) -> None:
        """Make the copy, with room for the selected tensors."""

    def written(self, tensor: Tensor) -> Tensor:
        """Return the tensor of the copy, to write and to read it."""
        raise NotImplementedError

    def write(self, tensor: Tensor, region: Region, block: Any) -> None:
        """Write the next region of a stream."""
        raise NotImplementedError

    @abstractmethod
    def sync(self) -> None:
        """Return once everything that was written is on the disk."""

    def finish(self) -> None:
        """Complete the copy: nothing is written after that."""
        self.sync()

    def abandon(self) -> None:  # noqa: B027 - most have nothing open
        """Close what is open, after an error."""


@dataclass(frozen=True)
class BytesTarget(Target):
    """Files of the same length as those of the source, the selected tensors in their places."""

    copies: Mapping[Path, Path]
    """Each file of the source, and its copy."""
    selected: Sequence[Bytes]

    def prepare(self, progress: Progress) -> None:
        for source, copy in self.copies.items():
            make_folder(copy.parent)
            kept = _between([t for t in self.selected if t.path == source], source)
            copy_bytes(source, copy, kept, progress)

    def written(self, tensor: Any) -> Bytes:
        found: Bytes = replace(tensor, path=self.copies[tensor.path])
        return found

    def sync(self) -> None:
        for copy in self.copies.values():
            sync(copy)
        for folder in {copy.parent for copy in self.copies.values()}:
            sync(folder)


def _between(tensors: Sequence[Bytes], path: Path) -> list[tuple[int, int]]:
    """Return the ranges of bytes of a file that lie outside of tensors."""
    ranges, at = [], 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        ranges.append((at, tensor.offset))
        at = tensor.offset + tensor.nbytes
    return [*ranges, (at, path.stat().st_size)]


def copy_bytes(
    source: Path, copy: Path, ranges: Sequence[tuple[int, int]], progress: Progress
) -> None:
    """Make a file of the size of ``source``, with its bytes in some ranges.

    If the file is there, left from a run that was stopped, what is right in it stays.
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
            for at in range(start, stop, PIECE):
                with naming(source):
                    piece = os.pread(old.fileno(), min(PIECE, stop - at), at)
                if len(piece) < min(PIECE, stop - at):
                    raise DamagedFileError(source, "became shorter while it was read")
                if left:
                    with naming(copy):
                        if os.pread(new.fileno(), len(piece), at) == piece:
                            progress(2 * len(piece))
                            continue
                with naming(copy):
                    write_at(new.fileno(), at, piece)
                progress(2 * len(piece))


def sync(path: Path) -> None:
    """Return once a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Source(ABC):
    """A checkpoint that was opened and judged: its tensors by name, nothing of them read."""

    tensors: dict[str, Tensor]
    path: Path
    files: list[Path]
    """All that the copy takes over, to find out whether it has changed."""
    torch_style = False
    """Whether two-dimensional weights are stored as (outputs, inputs)."""
    folder = False
    """Whether the copy is a folder."""

    @property
    def root(self) -> Path:
        """The file, or the folder, whose copy is made."""
        return self.path.parent if self.folder and not self.path.is_dir() else self.path

    @property
    def nbytes(self) -> int:
        """The size of its files."""
        return sum(path.stat().st_size for path in self.files)

    def judge_replaced(self, folder: Path) -> None:  # noqa: B027 - files are looked at elsewhere
        """Raise FileExistsError if a folder holds anything that this format does not list."""

    @abstractmethod
    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        """Return a copy to be made at ``content``, with room for the selected tensors."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:  # noqa: B027 - most have nothing open
        """Close what is open."""


@dataclass
class FileSource(Source):
    """A single file of tensors that lie in it as bytes."""

    path: Path
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:  # type: ignore[override]
        return [self.path]

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        return BytesTarget({self.path: content}, [t for t in selected if isinstance(t, Bytes)])
