"""The ``.safetensors`` format: one file, or shards that an index lists."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from array_constraints.files.formats.base import Tensor
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.raw import FileSource, RawTensor
from array_constraints.files.formats.shards import Sharded, open_index, parsed_dictionary
from array_constraints.layers import TORCH

_LARGEST_HEADER = 100_000_000  # bytes, as the format's own library has it
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_FIELDS = ("dtype", "shape", "data_offsets")
_MOST_DIMENSIONS = 64  # of NumPy
_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass
class Safetensors(FileSource):
    """One ``.safetensors`` file."""

    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def layout(self) -> str | None:  # type: ignore[override]
        return TORCH if self.metadata.get("format") == "pt" else None

    @property
    def torch_style(self) -> bool:  # type: ignore[override]
        return _torch_style(self.metadata, self.tensors)


def open_source(path: Path) -> Safetensors | Sharded:
    """Open a ``.safetensors`` file, or the index of shards."""
    return open_index(path, open_file) if path.suffix == ".json" else open_file(path)


def open_file(path: Path) -> Safetensors:
    """Open a ``.safetensors`` file: its header is read and checked.

    Source: the format's description, https://huggingface.co/docs/safetensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, _LARGEST_HEADER):
            raise DamagedFileError(path, f"has {size} bytes, its header should have {length}")
        text = file.read(length)
    header = parsed_dictionary(text, path)
    metadata = header.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    texts = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if not texts:
        raise DamagedFileError(path, "has a __metadata__ that is not a dictionary of strings")
    start = 8 + length
    tensors = {name: _tensor(name, entry, path, start) for name, entry in header.items()}
    places = sorted(tensors.values(), key=lambda tensor: (tensor.offset, tensor.nbytes))
    borders = [(start, "the header")]
    borders += [(tensor.offset + tensor.nbytes, tensor.name) for tensor in places]
    for (end, name), tensor in zip(borders, places, strict=False):
        if tensor.offset != end:
            raise DamagedFileError(path, f"{tensor.name!r} does not begin where {name!r} ends")
    if borders[-1][0] != size:
        raise DamagedFileError(path, f"has {size} bytes, its header speaks of {borders[-1][0]}")
    return Safetensors(path, dict(tensors), metadata)


def _tensor(name: str, entry: Any, path: Path, start: int) -> RawTensor:
    """Return a tensor as its entry has it; other fields, and dtypes yet unknown, are let be."""
    if isinstance(entry, list) and len(entry) == len(_FIELDS):  # as the library takes it, too
        entry = dict(zip(_FIELDS, entry, strict=True))
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(key) for key in _FIELDS)
    if not (_is_dtype(dtype) and _is_whole(shape) and _is_whole(offsets)):
        raise DamagedFileError(path, f"{name!r} has no valid dtype, shape and data_offsets")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise DamagedFileError(path, f"{name!r} has no valid data_offsets")
    size = offsets[1] - offsets[0]
    if dtype in _BITS and math.prod(shape) * _BITS[dtype] != size * 8:
        raise DamagedFileError(path, f"{name!r} has data_offsets that do not fit its shape")
    fault = None
    if len(shape) > _MOST_DIMENSIONS or any(n >= 2**62 for n in shape):
        fault = ValueError(f"{path}: {name!r} has a shape that NumPy has not: leave it out")
    kind, place = _NAMES.get(dtype, dtype), start + offsets[0]
    return RawTensor(name, tuple(shape), kind, path, place, stored_bytes=size, fault=fault)


def _is_dtype(name: Any) -> TypeGuard[str]:
    """Return whether this names a dtype, known or of a later version of the format."""
    return isinstance(name, str) and re.fullmatch("[A-Z][A-Z0-9_]{0,30}", name) is not None


def _is_whole(numbers: Any) -> TypeGuard[list[int]]:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**64 for n in numbers)


def _torch_style(metadata: dict[str, str], tensors: dict[str, Tensor]) -> bool:
    return metadata.get("format") == "pt" or any(n.endswith(".weight") for n in tensors)
