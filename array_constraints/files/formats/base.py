"""The interface of a format: a source of tensors, read by region, and targets for them.

The module of a format has a function ``open_source(path)``, which returns a :class:`Source`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

from array_constraints.executors.grid import Region
from array_constraints.files.formats.disk import Progress
from array_constraints.numerics.formats import FORMATS


@dataclass(frozen=True)
class Tensor(ABC):
    """A named array in a file, read by region; a value, so that other processes can read it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """The name of a NumPy or ml_dtypes dtype; else what the format calls it."""
    fault: ValueError | None = field(default=None, kw_only=True, compare=False, repr=False)
    """Why it can be neither read nor written: nothing to anybody who does not select it."""
    also: tuple[str, ...] = field(default=(), kw_only=True)
    """The other names under which the file has the same entries."""

    chunks = cast("tuple[int, ...] | None", None)
    """The lengths of the chunks of the file, if it has any."""
    shared = True
    """Whether regions may be read in any order, by any thread or process."""
    by_tile = False
    """Whether tiles of a region are read and written as fast as the whole region."""

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

    def check_usable(self, to_project: bool) -> None:
        """Raise ValueError where a selected tensor cannot be read, or not be written as it is.

        Where a codec rounds, other numbers would be read back than were written.
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


class Source(ABC):
    """A checkpoint that was opened and checked: its tensors by name, nothing of them read."""

    tensors: dict[str, Tensor]
    path: Path
    files: list[Path]
    """All files that the copy takes over, to find out whether one has changed."""
    torch_style = False
    """Whether two-dimensional weights are stored as (outputs, inputs)."""
    layout = cast("str | None", None)
    """``"torch"`` or ``"keras"``, where the format says whose layers these are."""
    folder = False
    """Whether the copy is a folder."""
    beside: Sequence[Path] = ()
    """The small files of a folder that are copied beside its weights."""

    def take_beside(self, follow_links: bool) -> None:  # noqa: B027 - most formats have none
        """Copy the small files of a folder, too: where it was opened as a folder."""

    @property
    def root(self) -> Path:
        """The file, or the folder, whose copy is made."""
        return self.path.parent if self.folder and not self.path.is_dir() else self.path

    @property
    def nbytes(self) -> int:
        """The size of its files."""
        return sum(path.stat().st_size for path in self.files)

    def check_replaceable(self, folder: Path) -> None:  # noqa: B027 - files are looked at elsewhere
        """Raise FileExistsError if a folder holds anything that this format does not list."""

    @abstractmethod
    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        """Return a copy to be made at ``content``, with room for the selected tensors."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:  # noqa: B027 - most have nothing open
        """Close what is open."""


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
