"""Opening weights: which row of the table of formats a path belongs to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from array_constraints.files.formats.base import Source
from array_constraints.files.formats.links import check_link, following
from array_constraints.files.formats.table import OPENED, SUFFIXES, TABLE


def open_weights(
    path: str | os.PathLike[str], *, follow_links: bool = False, as_folder: bool = False
) -> Source:
    """Open a file of weights, or a folder of shards or of Zarr; nothing is written to it.

    Parameters
    ----------
    path
        The file or folder.
    follow_links
        Whether links out of a folder are followed, wherever they lead. Without, only those are
        that lead from a snapshot to the blobs of the same repository of Hugging Face's cache.
    as_folder
        Whether a folder with one file of weights is taken as a whole, with the small files that
        lie beside it, and not as that file.

    Raises
    ------
    ValueError
        If the format is not known, or the file is damaged.
    OSError
        If it cannot be read.
    ImportError
        If the library of the format is not installed; the message says how to install it.
    """
    text = os.fspath(path)
    if not text:
        raise ValueError("the name of the file is empty")
    if "://" in text:
        raise ValueError(f"{text}: object stores are not read: copy the file to a disk first")
    path = Path(text).absolute()  # workers elsewhere may be in another folder
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    with following(follow_links):
        if path.is_dir():
            return _open_folder(path, as_folder)
        if not path.is_file():
            raise ValueError(f"{path}: not a regular file")
        return _open_file(path)


def _open_file(path: Path) -> Source:
    advice = f"formats are told by the name: {SUFFIXES}"
    for row in TABLE:
        if row.has(path):
            if not row.refused:
                return row.open(path)
            advice = row.refused
    suffix = path.suffix or "a name without a suffix"
    raise ValueError(f"{path}: {suffix} is not read: {advice}")


def _open_folder(path: Path, as_folder: bool) -> Source:
    for row in TABLE:
        if row.is_folder(path):
            if row.refused:
                raise ValueError(f"{path}: is not read: {row.refused}")
            return row.open(path)
    files = sorted(entry for entry in path.iterdir() if entry.is_file())
    for row in OPENED:
        if row.index:
            indices = [file for file in files if row.is_index(file)]
            found = indices or [file for file in files if row.has(file)]
            if len(found) > 1:
                raise ValueError(
                    f"{path}: a folder with {_shown(found)}: name the file to open"
                )
            if found:
                check_link(found[0], path)
                alone = as_folder and not indices
                return row.open_folder(found[0]) if alone else row.open(found[0])
    for row in TABLE:
        for file in files if row.refused else ():
            if row.has(file):
                raise ValueError(f"{file}: is not read: {row.refused}")
    snapshots = sorted(path.glob("snapshots/*/"))
    if snapshots:
        raise ValueError(f"{path}: is a repository in a cache: name a snapshot, {snapshots[0]}")
    names = [f"a *{suffix}" for row in OPENED if row.index for suffix in row.suffixes]
    names += [row.name for row in OPENED if row.markers]
    raise ValueError(f"{path}: a folder with neither {' nor '.join(names)}: name the file")


def _shown(files: Sequence[Path]) -> str:
    shown = ", ".join(file.name for file in files[:5])
    return f"{shown} and {len(files) - 5} more" if len(files) > 5 else shown
