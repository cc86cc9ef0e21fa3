"""The Zarr format, versions 2 and 3, sharded or not: a folder whose chunks are files."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from array_constraints.files.formats.base import Source, Target, Tensor
from array_constraints.files.formats.damaged import DamagedFileError, refuse_implausible_size
from array_constraints.files.formats.disk import Progress, copy_bytes, make_folder, sync
from array_constraints.files.formats.links import check_link
from array_constraints.files.formats.zarr_arrays import METADATA, ZarrTensor, zarr_errors

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_UNDER_WAY = re.compile(r"\.[0-9a-f]{32}\.partial$")
"""The name that zarr gives to a chunk while it writes it."""
_VERSIONS = {name: version for version, name in METADATA.items()}
_LARGEST_METADATA = 100_000_000
_DEEPEST = 64


@dataclass
class Zarr(Source):
    """A Zarr folder, opened."""

    path: Path
    tensors: dict[str, Tensor]
    files: list[Path]
    folder = True

    def check_replaceable(self, folder: Path) -> None:
        found = open_source(folder) if self._is_zarr(folder) else None
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


def open_source(path: Path) -> Zarr:
    """Open a Zarr folder: an array, or a group of arrays and groups."""
    files = dict(_files(path))
    stored: Counter[Path] = Counter()
    for file, size in files.items():
        for folder in file.parents[: len(file.relative_to(path).parts)]:
            stored[folder] += size
    tensors: dict[str, ZarrTensor] = {}
    for file in files:
        if file.name in ("zarr.json", ".zarray") and _is_array(file):
            folder = file.parent
            name = "" if folder == path else folder.relative_to(path).as_posix()
            tensor = ZarrTensor(name, (), "unknown", path, None, _VERSIONS[file.name])
            described = _described(tensor, stored[folder])
            if name in tensors:  # one would stay as it is
                fault = ValueError(f"{folder}: is an array of version 2 and of version 3")
                described = replace(described, fault=fault)
            tensors[name] = described
    arrays = {tensor.folder: tensor for tensor in tensors.values()}
    for file in _stored(arrays, [file for file, size in files.items() if not size]):
        name = next(arrays[folder].name for folder in file.parents if folder in arrays)
        fault = DamagedFileError(file, "is empty")  # zarr takes it for one not written
        tensors[name] = replace(tensors[name], fault=fault)
    return Zarr(path, dict(tensors), list(files))


def _stored(arrays: dict[Path, ZarrTensor], files: Iterable[Path]) -> Iterator[Path]:
    """Return those files that are chunks of arrays, which are given by their folders."""
    metadata: dict[Path, Any] = {}
    for file in files:
        folder = next((parent for parent in file.parents if parent in arrays), None)
        if folder is None or arrays[folder].chunks is None:
            continue
        if folder not in metadata:
            metadata[folder] = arrays[folder].opened().metadata
        if arrays[folder].stores(metadata[folder], file):
            yield file


def _files(path: Path) -> Iterator[tuple[Path, int]]:
    """Return all files of a folder, and their sizes; links out of it are refused."""
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders.sort()
        if len(Path(folder).relative_to(path).parts) > _DEEPEST:
            raise DamagedFileError(path, f"has folders more than {_DEEPEST} deep")
        for name in sorted(names + folders):
            entry = Path(folder, name)
            if entry.is_symlink():
                check_link(entry, path)
            if name in names:
                if not entry.is_file():
                    raise DamagedFileError(entry, "is not a regular file")
                size = entry.stat().st_size
                if name in _METADATA and size > _LARGEST_METADATA:
                    raise DamagedFileError(entry, f"is longer than {_LARGEST_METADATA} bytes")
                yield entry, size
            elif entry.is_symlink():
                raise DamagedFileError(entry, "is a link to a folder: copy with cp -rL")


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


def _described(tensor: ZarrTensor, stored: int) -> ZarrTensor:
    """Return an array as its metadata has it; one that zarr does not know as it is."""
    try:
        with zarr_errors(tensor.folder):
            array = tensor.opened()
            shape = tuple(map(int, array.shape))
            chunks, shards = (
                tuple(int(c) or int(n == 0) for c, n in zip(lengths, shape, strict=True))
                for lengths in (array.chunks, array.shards or array.chunks)
            )
            kind, itemsize = str(array.dtype), array.dtype.itemsize
            kind = array.dtype.name if kind.lstrip("<>=|")[:1] in "fiub" else kind
        found = replace(tensor, shape=shape, dtype=kind, chunks=shards)
        _check_shape(found, chunks, itemsize, stored)
    except DamagedFileError as error:
        return replace(tensor, fault=None if "data type" in str(error) else error)
    return found


def _check_shape(
    tensor: ZarrTensor, chunks: tuple[int, ...], itemsize: int, stored: int
) -> None:
    shape, shards = tensor.shape, tensor.chunks or tensor.shape
    lengths = chunks + shards
    if not all(0 <= n < 2**62 for n in shape) or not all(0 < n < 2**62 for n in lengths):
        raise DamagedFileError(tensor.folder, "has no valid shape and chunks")
    whole = [max(1, -(-n // shard)) * shard for n, shard in zip(shape, shards, strict=True)]
    refuse_implausible_size(tensor.folder, whole, chunks, itemsize, stored)


@dataclass(frozen=True)
class ZarrTarget(Target):
    """A copy of the folder, whose selected arrays get their chunks one by one."""

    source: Path
    content: Path
    files: tuple[Path, ...]
    selected: tuple[ZarrTensor, ...]

    def prepare(self, progress: Progress) -> None:
        made = set(_stored({tensor.folder: tensor for tensor in self.selected}, self.files))
        make_folder(self.content)
        for file in self.files:
            if file not in made:
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
                if _UNDER_WAY.search(file.name):
                    file.unlink()
        for folder, _, _ in os.walk(self.content):
            sync(Path(folder))

    def sync(self) -> None:
        """Do nothing: each file is on the disk once it is written."""
