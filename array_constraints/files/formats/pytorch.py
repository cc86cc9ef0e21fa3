"""The format of ``torch.save``: a ZIP archive of a pickle, and of storages as raw bytes.

The pickle says which tensors there are; it is read by a machine that runs nothing. Storages are
read and written by region, in place.

Source: the notes on serialization in PyTorch's documentation, and ``torch/serialization.py``,
2.13.
"""

from __future__ import annotations

import bisect
import os
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from array_constraints.files.formats import pickled
from array_constraints.files.formats.base import Target, Tensor
from array_constraints.files.formats.damaged import DamagedFileError, as_damaged_file
from array_constraints.files.formats.pickled_values import Other, RefusedPickleError, View
from array_constraints.files.formats.raw import FileSource, RawTensor, c_strides, span_of
from array_constraints.files.formats.shards import Sharded, open_index
from array_constraints.files.formats.stored import Stored, StoredTarget, is_stored, stored_in
from array_constraints.files.formats.zipped import members_of, zip_errors
from array_constraints.layers import TORCH

_LARGEST_PICKLE = 2**27
"""Bytes of a pickle: a million tensors."""
_ERRORS = (ValueError, OverflowError, MemoryError, RecursionError, struct.error)
"""The errors of Python's own reader of instructions on what is none."""
_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""A pickle of the number that files of PyTorch up to 1.5 begin with."""
_DTYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip
_SIZES = {"complex128": 16, "complex64": 8, "complex32": 4}
_SAVE = "load it where you trust it, and save its state_dict()"


@dataclass
class PyTorch(FileSource):
    """A file of ``torch.save``, opened."""

    storages: dict[str, Stored] = field(default_factory=dict)
    torch_style = True
    layout = TORCH

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        chosen = [t for t in selected if isinstance(t, RawTensor)]
        members = sorted(self.storages.values(), key=lambda member: member.start)
        starts = [member.start for member in members]
        places = sorted({bisect.bisect(starts, t.offset) - 1 for t in chosen if t.nbytes})
        # PyTorch writes zeros where it is told not to compute checksums.
        written = [members[i] for i in places if members[i].checksum]
        return StoredTarget({self.path: content}, chosen, written)


def open_source(path: Path) -> PyTorch | Sharded:
    """Open a file of ``torch.save``, or the index of shards."""
    return open_index(path, open_file) if path.suffix == ".json" else open_file(path)


def open_file(path: Path) -> PyTorch:
    """Open a file of ``torch.save``: its members are listed, its pickle is read."""
    _require_archive(path)
    with zip_errors(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        infos = members_of(archive, path)
        root, refused = _root_of(infos)
        if not refused:
            kept = [info for info in infos if info.filename.startswith(root)]
            if not all(map(is_stored, kept)):
                raise ValueError("its members are compressed, which torch.save never does")
            members = {
                member.name.removeprefix(root): member
                for member in stored_in(file.fileno(), archive, kept)
            }
            if len(members) < len(kept):
                raise ValueError("two of its members have one name")
            pickle, order = (
                _content(file.fileno(), members, n) for n in ("data.pkl", "byteorder")
            )
    if refused:
        raise ValueError(f"{path}: {refused}")
    storages = {n.removeprefix("data/"): m for n, m in members.items() if n.startswith("data/")}
    tensors = _tensors(path, pickle, storages, big_endian=order == b"big")
    return PyTorch(path, tensors, storages)


def _require_archive(path: Path) -> None:
    with path.open("rb") as file:
        first = file.read(512)
    if first.startswith(b"PK\3\4"):
        return
    if _LEGACY in first[:32] or first[257:262] == b"ustar":
        raise ValueError(
            f"{path}: is in the format of PyTorch before 1.6, which cannot be read by region: "
            "load it with torch.load(..., weights_only=True), and save it with torch.save"
        )
    if first.startswith(b"\x80"):
        raise ValueError(
            f"{path}: is a pickle that torch.save has not written, and can run any code when "
            f"it is opened: {_SAVE} with torch.save"
        )
    raise DamagedFileError(path, "is no archive of torch.save")


def _root_of(infos: Iterable[zipfile.ZipInfo]) -> tuple[str, str]:
    """Return the folder of an archive, with its slash; and why it is refused, if it is."""
    names = [info.filename for info in infos]
    found = [
        n.removesuffix("data.pkl")
        for n in names
        if n.count("/") == 1 and n.endswith("/data.pkl")
    ]
    if len(found) != 1:
        return "", "is a ZIP archive, and not one of torch.save: it has no data.pkl"
    if f"{found[0]}constants.pkl" in names:
        return (
            "",
            "is a program of TorchScript: save the state_dict() of its module with torch.save",
        )
    return found[0], ""


def _content(file: int, members: Mapping[str, Stored], name: str) -> bytes:
    member = members.get(name)
    if member is None:
        return b""
    if member.size > _LARGEST_PICKLE:
        raise ValueError(f"{name} is longer than {_LARGEST_PICKLE} bytes")
    return os.pread(file, member.size, member.start)


def _tensors(
    path: Path, pickle: bytes, storages: Mapping[str, Stored], *, big_endian: bool
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    try:
        with as_damaged_file(path, "its pickle cannot be read", _ERRORS):
            for name, found in pickled.tensors_of(pickle):
                tensor = (
                    _other(name, found, path)
                    if isinstance(found, Other)
                    else _tensor(name, found, path, storages, big_endian)
                )
                if name in tensors:
                    fault = ValueError(f"{path}: two tensors are named {name!r}")
                    tensor = replace(tensor, fault=fault)
                tensors[name] = tensor
    except DamagedFileError as error:
        if isinstance(error.__cause__, RefusedPickleError):
            raise ValueError(
                f"{path}: its pickle {error.__cause__}, which weights do not need and which "
                f"could run any code: {_SAVE} with torch.save"
            ) from None
        raise
    return _with_ties(tensors, path)


def _other(name: str, found: Other, path: Path) -> Tensor:
    kind = found.made_by.name.removeprefix("_rebuild_")
    fault = ValueError(f"{path}: {name!r} is not a plain tensor, but made by {found.made_by}")
    return RawTensor(name, (), kind, path, 0, stored_bytes=0, fault=fault)


def _tensor(
    name: str, view: View, path: Path, storages: Mapping[str, Stored], big_endian: bool
) -> Tensor:
    """Return a tensor as its view has it, which lies inside of its storage."""
    member = storages.get(view.storage.key)
    if member is None:
        raise ValueError(f"{name!r} lies in data/{view.storage.key}, which is missing")
    kind = _DTYPES.get(view.storage.kind, view.storage.kind.removesuffix("Storage").lower())
    dtype = view.dtype or kind
    size, stored = _size_of(dtype), _size_of(kind) * view.storage.entries
    if (
        stored > member.size
        or size * (view.offset + span_of(view.shape, view.strides)) > stored
    ):
        raise ValueError(f"{name!r} does not lie inside of data/{view.storage.key}")
    plain = c_strides(view.shape)
    alone = zip(view.shape, view.strides, plain, strict=True)  # of length 1: any stride will do
    strides = tuple(own if length > 1 else other for length, own, other in alone)
    ordinary = strides == plain or not all(view.shape)
    tensor = RawTensor(
        name,
        view.shape,
        dtype,
        path,
        member.start + size * view.offset,
        big_endian and size > 1,
        None if ordinary else strides,
    )
    fault = (
        None
        if ordinary or _are_apart(view)
        else ValueError(
            f"{path}: entries of {name!r} share their bytes: save it with .clone(), or leave "
            "it out"
        )
    )
    return replace(
        tensor, stored_bytes=None if tensor.supported else size * tensor.entries, fault=fault
    )


def _size_of(dtype: str) -> int:
    """Return the bytes of an entry, at least one: the name of a dtype has its bits."""
    bits = re.match(r"(?:b?float|u?int|qu?int)([0-9]+)(_|$)", dtype)
    return _SIZES.get(dtype) or max(1, int(bits[1]) // 8 if bits else 1)


def _are_apart(view: View) -> bool:
    """Whether each entry has bytes of its own, as far as shape and strides tell at once."""
    span = 1
    for stride, length in sorted(zip(view.strides, view.shape, strict=True)):
        if length > 1:
            if stride < span:
                return False
            span += stride * (length - 1)
    return True


def _with_ties(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return tensors with all of their names, and a fault where two share some bytes."""
    found: dict[object, list[str]] = {}
    for name, tensor in tensors.items():
        place = replace(tensor, name="") if tensor.entries and tensor.fault is None else name
        found.setdefault(place, []).append(name)
    kept = {first: replace(tensors[first], also=tuple(also)) for first, *also in found.values()}
    raw = [t for t in kept.values() if isinstance(t, RawTensor) and t.nbytes]
    stop, last = 0, ""
    for tensor in sorted(raw, key=lambda t: t.offset):
        if tensor.offset < stop:
            for one, other in ((tensor.name, last), (last, tensor.name)):
                fault = ValueError(
                    f"{path}: {one!r} lies among the bytes of {other!r}: save each with "
                    ".clone(), or leave it out"
                )
                kept[one] = replace(kept[one], fault=fault)
        stop, last = max((stop, last), (tensor.offset + _bytes_of_span(tensor), tensor.name))
    return kept


def _bytes_of_span(tensor: RawTensor) -> int:
    strides = c_strides(tensor.shape) if tensor.strides is None else tensor.strides
    return span_of(tensor.shape, strides) * _size_of(tensor.dtype)
