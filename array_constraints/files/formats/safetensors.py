"""The ``.safetensors`` format: one file, or shards that an index lists."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from array_constraints.files.formats.base import Source, Target, Tensor
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.links import check_link
from array_constraints.files.formats.raw import FileSource, RawTarget, RawTensor

_LARGEST_HEADER = 100_000_000  # bytes, as the format's own library has it
_LARGEST_INDEX = 100_000_000
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
    def torch_style(self) -> bool:  # type: ignore[override]
        return _torch_style(self.metadata, self.tensors)


def open_source(path: Path) -> Safetensors | Sharded:
    """Open a ``.safetensors`` file, or the index of shards."""
    return open_file(path) if path.suffix == ".safetensors" else open_index(path)


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
    header = _parsed(text, path)
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


def _parsed(text: bytes, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = sorted(name for name, _ in pairs)
            twice = next(a for a, b in pairwise(names) if a == b)
            raise ValueError(f"the name {twice!r} stands there twice")
        "".join(found).encode()  # half of a surrogate pair is no text
        return found

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise DamagedFileError(path, "its header is not a dictionary")
    return header


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


@dataclass
class Sharded(Source):
    """Shards, and the index that says which tensor lies in which."""

    path: Path
    """The index."""
    tensors: dict[str, Tensor]
    shards: list[Path]
    torch_style: bool
    folder = True

    @property
    def files(self) -> list[Path]:  # type: ignore[override]
        return [*self.shards, self.path]

    def check_replaceable(self, folder: Path) -> None:
        index = folder / self.path.name
        listed = open_index(index).files if index.is_file() else []
        refuse_other_files(folder, listed)

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        copies = {file: content / file.relative_to(self.path.parent) for file in self.files}
        return RawTarget(copies, [t for t in selected if isinstance(t, RawTensor)])


def open_index(path: Path) -> Sharded:
    """Open the ``.safetensors.index.json`` of shards; they lie in its folder."""
    if path.stat().st_size > _LARGEST_INDEX:
        raise DamagedFileError(path, f"is longer than {_LARGEST_INDEX} bytes")
    listed = _parsed(path.read_bytes(), path).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(v, str) for v in listed.values()):
        raise DamagedFileError(path, "has no weight_map from tensors to shards")
    shards = {name: _shard(path, name) for name in sorted(set(listed.values()))}
    opened = {shard: open_file(shard) for shard in sorted(set(shards.values()))}
    tensors: dict[str, Tensor] = {}
    for name, shard in listed.items():
        source = opened[shards[shard]]
        if name not in source.tensors:
            raise DamagedFileError(path, f"{name!r} is not in {shard}, where the index has it")
        tensors[name] = source.tensors[name]
    _add_unlisted(tensors, opened, path)
    style = any(_torch_style(source.metadata, source.tensors) for source in opened.values())
    return Sharded(path, tensors, list(opened), style)


def _add_unlisted(
    tensors: dict[str, Tensor], opened: dict[Path, Safetensors], index: Path
) -> None:
    """Add what shards hold and the index does not list; what two hold is not to be selected."""
    found: dict[str, list[str]] = {}
    for shard, source in opened.items():
        for name, tensor in source.tensors.items():
            tensors.setdefault(name, tensor)
            found.setdefault(name, []).append(shard.name)
    for name, places in found.items():
        if len(places) > 1:
            fault = ValueError(
                f"{index}: {name!r} lies in {' and in '.join(places)}, and loaders differ in "
                "which they take: save the checkpoint anew, or leave it out"
            )
            tensors[name] = replace(tensors[name], fault=fault)


def refuse_other_files(folder: Path, listed: Sequence[Path]) -> None:
    """Raise if there is anything in a folder beside files that are listed."""
    for entry in folder.rglob("*") if folder.is_dir() else [folder]:
        if (entry.is_symlink() or not entry.is_dir()) and entry not in listed:
            raise FileExistsError(
                f"{folder}: holds {entry.name}, not only weights: name another"
            )


def _shard(index: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    shard = index.parent / name
    if not parts or ".." in parts or name.startswith("/") or not name.isprintable():
        raise DamagedFileError(index, f"the shard {name!r} is not in its folder")
    check_link(shard, index.parent)
    if not shard.is_file():
        raise DamagedFileError(index, f"the shard {name!r} is missing")
    return shard
