"""The datasets of an HDF5 file: how they are listed and read."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy

from array_constraints.executors.grid import Region
from array_constraints.files.formats import lossy
from array_constraints.files.formats.base import Source, Tensor, numpy_dtype
from array_constraints.files.formats.damaged import (
    DamagedFileError,
    as_damaged_file,
    refuse_implausible_size,
)
from array_constraints.files.formats.hdf5_filters import fault_of_filters, filters_of
from array_constraints.files.formats.hdf5_streams import Window
from array_constraints.files.formats.raw import RawTensor
from array_constraints.numerics.formats import FORMATS

_DEEPEST = 64
_TWO_BYTES = h5py.h5t.py_create(numpy.dtype("V2"))  # as ml_dtypes.bfloat16, too


@dataclass(frozen=True)
class Dataset(Tensor):
    """A dataset that the HDF5 library has to read: in chunks, compressed, or never written."""

    path: Path
    chunks: tuple[int, ...] | None
    start: int = 0
    size: int = 0
    """Where the HDF5 file begins in ``path``, and how long it is."""

    def check_usable(self, to_project: bool) -> None:
        super().check_usable(to_project)
        if not (to_project and self.chunks and self.entries and self.supported):
            return
        with (
            hdf5_errors(self.path, self.name),
            opened_at(self.path, self.start, self.size) as file,
        ):
            entry = file[self.name].id
            filters = filters_of(entry.get_create_plist())
            kind = entry.get_type().copy().encode()
        fault = fault_of_filters(filters, kind, self.dtype, self.chunks)
        if fault is not None:
            named = ", ".join(name for *_, name in filters)
            raise lossy.refusal(self.path, self.name, f"the filters {named}", fault)

    def read(self, region: Region) -> Any:
        with (
            hdf5_errors(self.path, self.name),
            opened_at(self.path, self.start, self.size) as file,
        ):
            block = file[self.name][region]
        dtype = numpy_dtype(self.dtype)
        return block.view(dtype) if block.dtype.kind == "V" else block.astype(dtype, copy=False)


def hdf5_errors(path: Path, name: str = "the file") -> AbstractContextManager[None]:
    """Return a context that raises all that h5py raises as :class:`DamagedFileError`.

    What h5py and the HDF5 library raise on damaged files is not documented.
    """
    return as_damaged_file(path, f"{name} cannot be read")


@contextlib.contextmanager
def opened_at(path: Path, start: int, size: int) -> Iterator[Any]:
    """Open the HDF5 file whose bytes are at ``start`` of ``path``."""
    if not start:
        with h5py.File(path, "r", locking=False) as opened:
            yield opened
        return
    with path.open("rb") as file, h5py.File(Window(file, start, size), "r") as opened:
        yield opened


def opened_to_write(file: Any) -> Any:
    """Open an HDF5 file that is given as a file object; nothing else writes to it."""
    return h5py.File(file, "r+")


def listed(path: Path, start: int, size: int) -> dict[str, Tensor]:
    """Return the datasets of an HDF5 file whose bytes are at ``start`` of ``path``."""
    with hdf5_errors(path), opened_at(path, start, size) as opened:
        tensors = {
            name: _tensor(name, entry, path, start, size)
            for name, entry in datasets_of(opened, path, (), set())
        }
    _refuse_overlaps([t for t in tensors.values() if isinstance(t, RawTensor)], path)
    return tensors


def check_same_listing(source: Source, content: Path, start: int = 0, size: int = 0) -> None:
    """Raise where the copy does not list the same: weights were written over its lists."""
    try:
        found = listed(content, start, size or content.stat().st_size)
    except DamagedFileError:
        found = {}
    old, new = (
        {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        for tensors in (source.tensors, found)
    )
    if old != new:
        raise DamagedFileError(source.path, "has weights in the same place as its lists")


def datasets_of(
    group: Any, path: Path, names: tuple[str, ...], seen: set[Any]
) -> Iterator[tuple[str, Any]]:
    """Return the datasets of a group and of those in it, each once; links are not followed."""
    if len(names) > _DEEPEST:
        raise DamagedFileError(path, f"has groups more than {_DEEPEST} deep")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        entry, whole = group[name], (*names, name)
        address = h5py.h5o.get_info(entry.id).addr
        if address in seen:
            continue
        seen.add(address)
        if isinstance(entry, h5py.Group):
            yield from datasets_of(entry, path, whole, seen)
        elif isinstance(entry, h5py.Dataset):
            yield "/".join(whole), entry


def _tensor(name: str, entry: Any, path: Path, start: int, size: int) -> Tensor:
    """Return a dataset; only of those that can be selected the size is checked."""
    kind, fault = _kind(entry), None
    shape, plist = tuple(map(int, entry.shape or ())), entry.id.get_create_plist()
    nbytes, itemsize = int(entry.id.get_storage_size()), entry.id.get_type().get_size()
    offset: Any = entry.id.get_offset() if nbytes else None  # of nothing it may be anything
    if plist.get_layout() == h5py.h5d.VIRTUAL or entry.external:
        kind = f"{kind} of another file"
    if plist.get_layout() == h5py.h5d.CONTIGUOUS and offset is not None:
        # Entries of a length that varies take other bytes in the file than in memory.
        fits = kind not in FORMATS or nbytes == math.prod(shape) * itemsize
        if not fits or offset + nbytes > size:
            raise DamagedFileError(path, f"{name} does not lie inside of the file")
        big, place = kind in FORMATS and entry.dtype.byteorder == ">", start + offset
        return RawTensor(name, shape, kind, path, place, big_endian=big, stored_bytes=nbytes)
    chunks = tuple(map(int, entry.chunks)) if entry.chunks else None
    if kind in FORMATS:
        fault = _fault_of_promise(path, name, shape, chunks, itemsize, nbytes)
    return Dataset(name, shape, kind, path, chunks, start, size, fault=fault)


def _fault_of_promise(
    path: Path, name: str, shape: tuple[int, ...], chunks: Any, itemsize: int, nbytes: int
) -> ValueError | None:
    if chunks and not all(0 < n < 2**32 for n in chunks):
        return DamagedFileError(path, f"{name} has chunks of {chunks}")
    try:
        refuse_implausible_size(
            path, shape, chunks or tuple(max(1, n) for n in shape), itemsize, nbytes
        )
    except DamagedFileError as error:
        return error
    return None


def _kind(entry: Any) -> str:
    if entry.shape is None:
        return "empty"
    kind = entry.id.get_type()
    if kind == _TWO_BYTES:
        return "bfloat16"  # as Keras writes it
    try:
        dtype = entry.dtype
    except TypeError:  # h5py has no dtype for it
        return "unknown"
    if dtype.kind == "f" and kind != h5py.h5t.py_create(dtype):
        return f"{dtype.name} of another format"
    return str(dtype.name if not dtype.names else "structured")


def _refuse_overlaps(tensors: list[RawTensor], path: Path) -> None:
    places = sorted((t for t in tensors if t.nbytes), key=lambda tensor: tensor.offset)
    for a, b in itertools.pairwise(places):
        if a.offset + a.nbytes > b.offset:
            raise DamagedFileError(path, f"{a.name} and {b.name} lie in the same place")
