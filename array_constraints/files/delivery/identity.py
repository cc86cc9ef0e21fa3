"""The identity of files and constraints, whatever they are called.

A source is identified by device and inode, which do not depend on a name or a mount point, so
that a result is never put in its place. With times, size and samples they say if it is still
the same, so that no two are mixed. Only constraints whose fields say all are identified.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import array_constraints
from array_constraints.config import BUILT_IN
from array_constraints.files.formats.base import Source
from array_constraints.rules import OPTIONS, Rules
from array_constraints.typing import name_of

_SAMPLE = 2**12
"""Bytes of a sample: a page, less than which is not read from a disk."""
_SAMPLES_OF_FILE = 16
"""Samples of a file at most."""
_SAMPLES = 2**10
"""Samples of a source at most: 4 MiB, read twice."""


def check_apart(source: Source, *made: Path) -> None:
    """Raise ValueError if what a run makes is the source, lies in it, or has it in itself.

    It is files and folders that are compared, not names: a folder may be mounted twice.
    """
    own, around = _identities(_files_and_folders(source)), _identities(_around(source))
    for path in made:
        whole = Path(os.path.realpath(path))  # which a loop of links does not stop
        near = [*whole.parents, *(Path(p) for p, _, _ in os.walk(whole))]
        inside = source.folder and own & _identities(near)
        if inside or (own | around) & _identities([whole]):
            raise ValueError(
                f"{path}: is the source, or lies where the source does, which is never written "
                "to: name another place"
            )


def _files_and_folders(source: Source) -> Iterator[Path]:
    """Return the files of a source, its root, and the folders between them."""
    yield from source.files
    yield source.root
    inside = {file.parent for file in source.files if source.folder}
    yield from {
        f for folder in inside for f in (folder, *folder.parents) if source.root in f.parents
    }


def _around(source: Source) -> Iterator[Path]:
    """Return the folders that the files of a source really lie in; a link leads elsewhere."""
    folders = {file.resolve().parent for file in source.files if file.is_symlink()}
    folders |= {folder.resolve() for folder in {file.parent for file in source.files}}
    for folder in folders:
        yield from (folder, *folder.parents)


def _identities(paths: Iterable[Path]) -> set[tuple[int, ...]]:
    """Return numbers that identify files and folders, whatever they are called.

    That is device and inode; a second mount over a network may have a device of its own.
    """
    found = set[tuple[int, ...]]()
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            continue
        found.add((status.st_dev, status.st_ino))
        found.add((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return found


def fingerprint(
    source: Source, files: Sequence[Path], rules: Rules, axes: Sequence[Any]
) -> dict[str, Any]:
    """Identify a run by its source files, its rules, and the axes of each tensor.

    A run that was interrupted is continued only if this is unchanged.
    """
    each = max(1, min(_SAMPLES_OF_FILE, _SAMPLES // max(1, len(files))))
    every = -(-len(files) // _SAMPLES)
    found = {
        "source": [
            _identity(file, os.path.relpath(file, source.root), 0 if i % every else each)
            for i, file in enumerate(files)
        ],
        "rules": None if why_not_identified(rules) else _configs(rules),
        "axes": hashlib.sha256(json.dumps(axes).encode()).hexdigest(),
        "version": array_constraints.__version__,
    }
    as_read: dict[str, Any] = json.loads(json.dumps(found))
    return as_read


def _identity(file: Path, name: str, samples: int) -> list[Any]:
    """Return numbers and a digest of a file that differ once it is changed."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status, digest = os.fstat(descriptor), hashlib.sha256()
        last = max(0, status.st_size - _SAMPLE)
        for i in range(samples):
            digest.update(os.pread(descriptor, _SAMPLE, last * i // max(1, samples - 1)))
    finally:
        os.close(descriptor)
    times = (status.st_mtime_ns, status.st_ctime_ns)
    numbers = (status.st_dev, status.st_ino, status.st_size, *times)
    return [name, *numbers, digest.hexdigest()]


def _configs(rules: Rules) -> list[Any]:
    constraints: list[Any] = [rule.constraint for rule in rules.rules]
    configs = [c and [name_of(type(c)), c.get_config()] for c in constraints]
    asked = [[getattr(rule, name) for name in OPTIONS] for rule in rules.rules]
    return [list(pair) for pair in zip(asked, configs, strict=True)]


def why_not_identified(rules: Rules) -> str:
    """Name the constraint that is more than its fields say; nothing if none is."""
    for rule in rules.rules:
        if rule.constraint is not None and (why := _why_not_identified(rule.constraint)):
            return why.format(repr(rule.select))
    return ""


def _why_not_identified(constraint: Any) -> str:
    """Say why a constraint, or one that it is made of, is not what its fields say."""
    cls = type(constraint)
    if BUILT_IN.get(name_of(cls)) is not cls:
        named = constraint if hasattr(constraint, "__qualname__") else cls
        return (
            "the constraint of {} is code of one's own, "
            f"{named.__module__}.{named.__qualname__}, which may be another by now"
        )
    members = list(getattr(constraint, "members", tuple)())
    own: Any = dataclasses.fields(cls) if is_dataclass(cls) else ()
    fields = {field.name for field in own}
    values = vars(constraint)
    others = (v for v in values.values() if v not in members and v != tuple(members))
    if values.keys() != fields or not all(map(_is_plain, others)):
        return f"the {name_of(cls)} of {{}} has attributes that may change"
    return next(filter(None, map(_why_not_identified, members)), "")


def _is_plain(value: object) -> bool:
    """Whether a value is nothing but numbers and text: subclasses may hold anything."""
    if type(value) is tuple:
        return all(type(entry) in (int, float) for entry in value)
    return type(value) in (int, float, bool, str, NoneType)
