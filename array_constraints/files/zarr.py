"""Zarr, version 2 and 3, sharded or not: a folder whose chunks are files."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

try:
    import zarr
except ImportError as error:  # pragma: no cover - without the extra
    raise ImportError(
        "Zarr is read with zarr: pip install 'array-constraints[zarr]'"
    ) from error

from array_constraints.files.grid import Region
from array_constraints.files.permissions import make_folder
from array_constraints.files.stored import (
    DamagedFileError,
    Progress,
    Source,
    Target,
    Tensor,
    copy_bytes,
    judge_promise,
    judged,
    sync,
)

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_VERSIONS: dict[str, Literal[2, 3]] = {"zarr.json": 3, ".zarray": 2}
_LARGEST_METADATA = 100_000_000
_DEEPEST = 64


@dataclass(frozen=True)
class ZarrTensor(Tensor):
    """An array of a Zarr folder."""

    root: Path
    chunks: tuple[int, ...] | None
    """The chunks that are written at once: shards, where there are any."""
    version: Literal[2, 3] = 3
    """The version of the format."""

    def opened(self, mode: Any = "r") -> zarr.Array[Any]:
        """Return the array as zarr has it."""
        return zarr.open_array(self.root / self.name, mode=mode, zarr_format=self.version)

    def read(self, region: Region) -> Any:
        import numpy

        with (
            _judged(self.root / self.name),
            numpy.errstate(over="ignore"),
        ):  # of places in shards
            block = numpy.asarray(self.opened()[region])
        return block.astype(self.dtype, copy=not block.flags.writeable)

    def write(self, region: Region, block: Any) -> None:
        array = self.root / self.name
        with _judged(array):
            opened = self.opened("r+")
        lengths = self.chunks or self.shape
        numbers = [
            range(part.start // n, -(-part.stop // n))
            for part, n in zip(region, lengths, strict=True)
        ]
        keys = map(opened.metadata.encode_chunk_key, itertools.product(*numbers))
        files = [array / key for key in keys]
        try:
            self._fill(opened, region, block)
        except DamagedFileError:  # zarr may read what an earlier run has left there
            for file in files:
                file.unlink(missing_ok=True)
            self._fill(opened, region, block)
        stored = [file for file in files if file.exists()]  # not chunks of the fill value alone
        for path in (*stored, *{file.parent for file in stored}):
            sync(path)

    def _fill(self, opened: Any, region: Region, block: Any) -> None:
        with _judged(self.root / self.name):
            opened[region] = block

    def sync(self) -> None:
        """Do nothing: each chunk is on the disk once it is written."""


def _judged(path: Path) -> AbstractContextManager[None]:
    """Return a context that raises all that zarr raises as :class:`DamagedFileError`.

    Neither zarr nor its codecs document what they raise on what no one can mean.
    """
    return judged(path, "is not an array of Zarr")


@dataclass
class Zarr(Source):
    """A Zarr folder, opened."""

    path: Path
    tensors: dict[str, Tensor]
    files: list[Path]
    folder = True

    def judge_replaced(self, folder: Path) -> None:
        found = open_zarr(folder) if self._is_zarr(folder) else None
        arrays = {folder / name for name in found.tensors} if found else set()
        for file in found.files if found else [folder]:
            if file.name not in _METADATA and arrays.isdisjoint(file.parents):
                raise FileExistsError(
                    f"{folder}: holds {file.name}, not only Zarr: name another"
                )

    @staticmethod
    def _is_zarr(folder: Path) -> bool:
        return any((folder / name).is_file() for name in _METADATA)

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        chosen = [t for t in selected if isinstance(t, ZarrTensor)]
        return ZarrTarget(self.path, content, tuple(self.files), tuple(chosen))


def open_zarr(path: Path) -> Source:
    """Open a Zarr folder: an array, or a group of arrays and groups."""
    files = dict(_files(path))
    stored: Counter[Path] = Counter()
    for file, size in files.items():
        for folder in file.parents[: len(file.relative_to(path).parts)]:
            stored[folder] += size
    tensors: dict[str, Tensor] = {}
    for file in files:
        if file.name in ("zarr.json", ".zarray") and _is_array(file):
            folder = file.parent
            name = "" if folder == path else folder.relative_to(path).as_posix()
            tensor = ZarrTensor(name, (), "unknown", path, None, _VERSIONS[file.name])
            tensors[name] = _described(tensor, stored[folder])
    arrays = {path / name for name in tensors}
    for file, size in files.items():
        if not size and not arrays.isdisjoint(file.parents):
            raise DamagedFileError(file, "is empty")  # zarr takes it for one not written
    return Zarr(path, tensors, list(files))


def _files(path: Path) -> Iterator[tuple[Path, int]]:
    """Return all files of a folder, and their sizes; links out of it are refused."""
    inside = os.path.realpath(path) + os.sep
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders.sort()
        if len(Path(folder).relative_to(path).parts) > _DEEPEST:
            raise DamagedFileError(path, f"has folders more than {_DEEPEST} deep")
        for name in sorted(names + folders):
            entry = Path(folder, name)
            if entry.is_symlink() and not os.path.realpath(entry).startswith(inside):
                raise DamagedFileError(entry, "is a link out of the folder")
            if name in names:
                if not entry.is_file():
                    raise DamagedFileError(entry, "is not a regular file")
                size = entry.stat().st_size
                if name in _METADATA and size > _LARGEST_METADATA:
                    raise DamagedFileError(entry, f"is longer than {_LARGEST_METADATA} bytes")
                yield entry, size
            elif entry.is_symlink():
                raise DamagedFileError(entry, "is a link to a folder")


def _raise(error: OSError) -> None:
    raise error


def _is_array(file: Path) -> bool:
    if file.name == ".zarray":
        return True
    try:
        kind = json.loads(file.read_text(encoding="utf-8"))["node_type"]
        return ("group", "array").index(kind) == 1
    except (ValueError, RecursionError, TypeError, LookupError) as error:
        raise DamagedFileError(file, f"is not the metadata of Zarr: {error}") from None


def _described(tensor: ZarrTensor, stored: int) -> Tensor:
    """Return an array as its metadata has it; of a dtype that zarr does not know, as it is."""
    path = tensor.root / tensor.name
    try:
        with _judged(path):
            array = tensor.opened()
            shape = tuple(map(int, array.shape))
            chunks, shards = (
                tuple(int(c) or int(n == 0) for c, n in zip(lengths, shape, strict=True))
                for lengths in (array.chunks, array.shards or array.chunks)
            )
            kind, itemsize = str(array.dtype), array.dtype.itemsize
            kind = array.dtype.name if kind.lstrip("<>=|")[:1] in "fiub" else kind
    except DamagedFileError as error:
        if "data type" in str(error):
            return tensor
        raise
    if not all(0 <= n < 2**62 for n in shape) or not all(
        0 < n < 2**62 for n in chunks + shards
    ):
        raise DamagedFileError(path, "has no valid shape and chunks")
    whole = [max(1, -(-n // shard)) * shard for n, shard in zip(shape, shards, strict=True)]
    judge_promise(path, whole, chunks, itemsize, stored)
    return replace(tensor, shape=shape, dtype=kind, chunks=shards)


@dataclass(frozen=True)
class ZarrTarget(Target):
    """A copy of the folder, whose selected arrays get their chunks one by one."""

    source: Path
    content: Path
    files: tuple[Path, ...]
    selected: tuple[ZarrTensor, ...]

    def prepare(self, progress: Progress) -> None:
        arrays = {tensor.root / tensor.name for tensor in self.selected}
        make_folder(self.content)
        for file in self.files:
            is_metadata = file.parent in arrays and file.name in _METADATA
            if is_metadata or arrays.isdisjoint(file.parents):
                copy = self.content / file.relative_to(self.source)
                make_folder(copy.parent)
                copy_bytes(file, copy, [(0, file.stat().st_size)], progress)
                sync(copy)

    def written(self, tensor: Any) -> ZarrTensor:
        found: ZarrTensor = replace(tensor, root=self.content)
        return found

    def finish(self) -> None:
        for tensor in self.selected:  # what zarr was writing when an earlier run was killed
            for file in (self.content / tensor.name).rglob("*.partial"):
                file.unlink()
        for folder, _, _ in os.walk(self.content):
            sync(Path(folder))

    def sync(self) -> None:
        """Do nothing: each file is on the disk once it is written."""
