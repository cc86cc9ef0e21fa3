"""The symbolic links of a checkpoint: those that stay within it are followed, no others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from array_constraints.files.formats.damaged import printable

_EVERYWHERE = ContextVar("_EVERYWHERE", default=False)
"""Whether links are followed wherever they lead: who opens a checkpoint has said so."""


@contextlib.contextmanager
def following(everywhere: bool) -> Iterator[None]:
    """Follow all links within, if asked for."""
    token = _EVERYWHERE.set(everywhere)
    try:
        yield
    finally:
        _EVERYWHERE.reset(token)


def check_link(entry: Path, folder: Path) -> None:
    """Raise where a file of a folder is a link out of it.

    A checkpoint from elsewhere could otherwise have any file of the reader copied into its
    result. The caches of Hugging Face are known: there a file of a snapshot is a link to what
    the same repository has in ``blobs``.
    """
    found, inside = Path(os.path.realpath(entry)), Path(os.path.realpath(folder))
    if found.is_relative_to(inside) and found != inside:
        return
    if _EVERYWHERE.get() or any(found.parent == blobs for blobs in _blobs(inside)):
        return
    said = f"{entry}: is a link out of the folder, to {found}: such a link is followed in "
    said += (
        "a cache of Hugging Face, from snapshots to blobs; if you trust this one, follow it "
    )
    raise ValueError(printable(f"{said}with follow_links=True"))


def _blobs(folder: Path) -> list[Path]:
    """Return the folders ``REPO/blobs`` with the files of a cache's ``REPO/snapshots/...``."""
    found = [parent.parent for parent in folder.parents if parent.name == "snapshots"]
    blobs = [repository / "blobs" for repository in found if "--" in repository.name]
    return [path for path in blobs if path.is_dir() and not path.is_symlink()]
