"""An array of a Zarr folder, read and written by zarr, one chunk after the other."""

from __future__ import annotations

import itertools
import json
import operator
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zarr

from array_constraints.executors.grid import Region
from array_constraints.files.formats import lossy
from array_constraints.files.formats.base import Tensor
from array_constraints.files.formats.damaged import DamagedFileError, as_damaged_file
from array_constraints.files.formats.disk import naming, sync
from array_constraints.files.formats.zarr_codecs import fault_of_codecs, storage_of

METADATA: dict[Literal[2, 3], str] = {3: "zarr.json", 2: ".zarray"}
"""The file that describes an array, in each version of the format."""


@dataclass(frozen=True)
class ZarrTensor(Tensor):
    """An array of a Zarr folder."""

    root: Path
    chunks: tuple[int, ...] | None
    """The chunks that are written at once: shards, where there are any."""
    version: Literal[2, 3] = 3
    """The version of the format."""

    @property
    def folder(self) -> Path:
        """Where the array is."""
        return self.root / self.name

    def opened(self, mode: Any = "r") -> zarr.Array[Any]:
        """Return the array as zarr has it."""
        return zarr.open_array(self.folder, mode=mode, zarr_format=self.version)

    def check_usable(self, to_project: bool) -> None:
        super().check_usable(to_project)
        if not (to_project and self.entries and self.supported):
            return
        metadata = json.loads((self.folder / METADATA[self.version]).read_bytes())
        chunks = self.chunks or self.shape
        fault = fault_of_codecs(metadata, self.version, self.dtype, chunks)
        if fault is not None:
            storage = f"the codecs {storage_of(metadata)}"
            raise lossy.refusal(self.root, self.name, storage, fault)

    def read(self, region: Region) -> Any:
        import numpy

        with (
            zarr_errors(self.folder),
            numpy.errstate(over="ignore"),
        ):  # of places in shards
            block = numpy.asarray(self.opened()[region])
        return block.astype(self.dtype, copy=not block.flags.writeable)

    def write(self, region: Region, block: Any) -> None:
        chunks = list(self._chunks_of(region))
        with naming(self.folder), zarr_errors(self.folder):
            opened = self.opened("r+")
        keys = (opened.metadata.encode_chunk_key(number) for number, _, _ in chunks)
        files = [self.folder / key for key in keys]
        try:
            self._fill(opened, region, block, chunks)
        except DamagedFileError:  # zarr may read what an earlier run has left there
            for file in files:
                file.unlink(missing_ok=True)
            self._fill(opened, region, block, chunks)
        stored = [file for file in files if file.exists()]  # not chunks of the fill value alone
        for path in (*stored, *{file.parent for file in stored}):
            sync(path)

    def _fill(self, opened: Any, region: Region, block: Any, chunks: Any) -> None:
        """Write chunk by chunk: of several, zarr still writes some once one has failed."""
        with naming(self.folder), zarr_errors(self.folder):
            for _, part, inside in chunks:
                always = _has_other_nan(block[inside], opened.fill_value)
                stored = opened.with_config({"write_empty_chunks": True}) if always else opened
                stored[part] = block[inside]

    def stores(self, metadata: Any, file: Path) -> bool:
        """Return whether a file is that of a chunk of the array, as its metadata names them."""
        counts = [-(-n // c) for n, c in zip(self.shape, self.chunks or (), strict=True)]
        key = file.relative_to(self.folder).as_posix()
        number = tuple(map(int, re.findall("[0-9]{1,18}", key))) if counts else ()
        inside = len(number) == len(counts) and all(map(operator.lt, number, counts))
        return inside and metadata.encode_chunk_key(number) == key

    def _chunks_of(self, region: Region) -> Iterator[tuple[tuple[int, ...], Region, Region]]:
        """Return the number of each chunk of a region, its place, and that in the region."""
        lengths = self.chunks or self.shape
        parts = list(zip(region, lengths, strict=True))
        for number in itertools.product(
            *(range(p.start // n, -(-p.stop // n)) for p, n in parts)
        ):
            places = [
                (max(p.start, i * n), min(p.stop, (i + 1) * n))
                for i, (p, n) in zip(number, parts, strict=True)
            ]
            inside = [
                (a - p.start, b - p.start) for (a, b), p in zip(places, region, strict=True)
            ]
            yield number, tuple(map(_slice, places)), tuple(map(_slice, inside))

    def sync(self) -> None:
        """Do nothing: each chunk is on the disk once it is written."""


def _slice(borders: tuple[int, int]) -> slice:
    return slice(*borders)


def _has_other_nan(block: Any, fill: Any) -> bool:
    """Return whether NaN is what is not stored, and a chunk holds NaN of other bits.

    zarr takes all of them for the same, and would not store a chunk of them.
    """
    import numpy

    if fill is None or not numpy.isnan(numpy.float64(fill)):
        return False
    bits = numpy.dtype(f"u{block.dtype.itemsize}")
    other = numpy.ascontiguousarray(block).view(bits) != block.dtype.type(fill).view(bits)
    return bool((other & numpy.isnan(block)).any())


def zarr_errors(path: Path) -> AbstractContextManager[None]:
    """Return a context that raises all that zarr raises as :class:`DamagedFileError`.

    Neither zarr nor its codecs document what they raise on what no one can mean.
    """
    return as_damaged_file(path, "is not an array of Zarr")
