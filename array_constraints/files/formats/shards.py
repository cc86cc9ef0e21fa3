"""Folders of a checkpoint: one file of weights, or shards with their index; and small files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from array_constraints.files.formats.base import Source, Target, Tensor
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.disk import Progress
from array_constraints.files.formats.links import check_link, following
from array_constraints.files.formats.raw import FileSource, RawTarget, RawTensor

_LARGEST_INDEX = 100_000_000
_LARGEST_SMALL_FILE = 2**26
"""Bytes of a file beside the weights that is copied: 64 MiB, above any tokenizer."""
OF_WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".hdf5", ".keras", ".npy", ".npz",
    ".msgpack", ".onnx", ".gguf", ".pkl", ".pickle", ".tflite", ".ot", ".distcp", ".pb",
)  # fmt: skip
"""The ends of names of weights, which are not copied beside others."""
_BESIDE = re.compile(
    r"(?!\.).*\.(json|txt|model|md|py|jinja|ya?ml|toml|tiktoken|bpe|vocab)|(LICENSE|NOTICE).*",
    re.IGNORECASE,
)
"""The names of what is copied: configs, tokenizers, templates, code, licences."""
_INDEX = re.compile(r"\.index(\.[^/]+)?\.json$")


def parsed_dictionary(text: bytes, path: Path) -> dict[str, Any]:
    """Return what a text says in JSON, which has to be a dictionary, each key once."""

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


@dataclass
class Sharded(Source):
    """A folder with one file of weights; or with shards, and an index of what lies in which.

    The small files beside them, such as ``config.json`` and those of a tokenizer, are copied,
    so that the result can be loaded as the source can.
    """

    path: Path
    """The index, or the folder of one file."""
    tensors: dict[str, Tensor]
    shards: dict[Path, FileSource]
    open_file: Callable[[Path], FileSource]
    beside: Sequence[Path] = ()
    folder = True

    @property
    def layout(self) -> str | None:  # type: ignore[override]
        known = {shard.layout for shard in self.shards.values()}
        return known.pop() if len(known) == 1 else None

    @property
    def torch_style(self) -> bool:  # type: ignore[override]
        return any(shard.torch_style for shard in self.shards.values())

    @property
    def files(self) -> list[Path]:  # type: ignore[override]
        return [*self.shards, *self._copied]

    @property
    def _copied(self) -> list[Path]:
        """What is copied as it is."""
        return [*self.beside, *([] if self.path == self.root else [self.path])]

    def take_beside(self, follow_links: bool) -> None:
        with following(follow_links):
            self.beside = list(_small_files(self.root))

    def check_replaceable(self, folder: Path) -> None:
        listed = [folder / file.relative_to(self.root) for file in self.beside]
        index = folder / self.path.name
        if index.is_file():
            listed += [index, *open_index(index, self.open_file).shards]
        elif self.path == self.root:
            listed += [folder / shard.name for shard in self.shards]
        refuse_other_files(folder, listed)

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        folder = self.root
        chosen = {
            shard: [t for t in selected if isinstance(t, RawTensor) and t.path == shard]
            for shard in self.shards
        }
        parts = {
            shard: opened.target(chosen[shard], content / shard.relative_to(folder))
            for shard, opened in self.shards.items()
        }
        parts |= {
            file: RawTarget({file: content / file.relative_to(folder)}, [])
            for file in self._copied
        }
        return ShardedTarget(parts)


@dataclass(frozen=True)
class ShardedTarget(Target):
    """The copies of shards and of their index."""

    parts: Mapping[Path, Target]
    """Each file of the source, and its copy."""

    def prepare(self, progress: Progress) -> None:
        for part in self.parts.values():
            part.prepare(progress)

    def written(self, tensor: Any) -> Tensor:
        return self.parts[tensor.path].written(tensor)

    def sync(self) -> None:
        for part in self.parts.values():
            part.sync()

    def finish(self) -> None:
        for part in self.parts.values():
            part.finish()


def open_index(path: Path, open_file: Callable[[Path], FileSource]) -> Sharded:
    """Open the index of shards, which lie in its folder, and each of them by ``open_file``."""
    if path.stat().st_size > _LARGEST_INDEX:
        raise DamagedFileError(path, f"is longer than {_LARGEST_INDEX} bytes")
    listed = parsed_dictionary(path.read_bytes(), path).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(v, str) for v in listed.values()):
        raise DamagedFileError(path, "has no weight_map from tensors to shards")
    shards = {name: _shard(path, name) for name in sorted(set(listed.values()))}
    opened = {shard: open_file(shard) for shard in sorted(set(shards.values()))}
    named = {
        shard: {name: t for t in source.tensors.values() for name in (t.name, *t.also)}
        for shard, source in opened.items()
    }
    tensors: dict[str, Tensor] = {}
    for name, shard in listed.items():
        if name not in named[shards[shard]]:
            raise DamagedFileError(path, f"{name!r} is not in {shard}, where the index has it")
        tensor = named[shards[shard]][name]
        tensors[tensor.name] = tensor
    _add_unlisted(tensors, opened, path)
    return Sharded(path, tensors, opened, open_file)


def open_folder(file: Path, open_file: Callable[[Path], FileSource]) -> Sharded:
    """Open a folder by its one file of weights, together with the small files beside it."""
    opened = open_file(file)
    folder = file.parent
    return Sharded(folder, opened.tensors, {file: opened}, open_file)


def _small_files(folder: Path) -> Iterator[Path]:
    """Return the files of a folder that loaders read beside weights, in order."""
    for entry in sorted(folder.iterdir()):
        known = _BESIDE.fullmatch(entry.name) and not _INDEX.search(entry.name)
        if known and entry.is_file() and entry.stat().st_size <= _LARGEST_SMALL_FILE:
            check_link(entry, folder)
            yield entry


def _add_unlisted(
    tensors: dict[str, Tensor], opened: Mapping[Path, FileSource], index: Path
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
                f"{folder}: holds {entry.name}, which the result would not: name another"
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
