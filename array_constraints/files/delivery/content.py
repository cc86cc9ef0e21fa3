"""Files and folders inside of a folder that was opened: their size, stamp, and removal.

They are looked up by its descriptor, and links are never followed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path


def _all_of(folder: int, name: str) -> Iterator[tuple[str, os.stat_result]]:
    """Return path and status of a file or folder, and of all that is in it."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    yield name, status
    if stat.S_ISDIR(status.st_mode):
        for path, folders, files, inner in os.fwalk(name, dir_fd=folder, onerror=_raise):
            folders.sort()
            for entry in sorted(folders + files):
                found = os.stat(entry, dir_fd=inner, follow_symlinks=False)
                yield str(Path(path, entry)), found


def _raise(error: OSError) -> None:
    raise error


def oddity(parent: int, name: str, folder: bool) -> str:
    """Say what a content holds that no run puts there; nothing if it is right, or gone."""
    for path, status in _all_of(parent, name):
        is_folder = stat.S_ISDIR(status.st_mode)
        if path == name and is_folder != folder:
            return f"{path} in it is no {'folder' if folder else 'file'}"
        if not (is_folder or stat.S_ISREG(status.st_mode)):
            return f"{path} in it is a link, or no file"
        if not is_folder and status.st_nlink > 1:
            return f"{path} in it has another name elsewhere"
    return ""


def stamp(folder: int, name: str, *, moved: bool = False) -> str:
    """Return a digest of sizes, times and inodes, which changes with all that is done to them.

    With ``moved``, what a rename changes is left out: the name, and the time of its status.
    """
    found = hashlib.sha256()
    for path, s in _all_of(folder, name):
        rest: tuple[int, ...] = ()
        if stat.S_ISREG(s.st_mode):
            rest = (s.st_size, s.st_mtime_ns, 0 if moved and path == name else s.st_ctime_ns)
        inside = path.removeprefix(name)
        found.update(repr((inside, stat.S_IFMT(s.st_mode), s.st_ino, *rest)).encode())
    return found.hexdigest()


def size(folder: int, name: str) -> int:
    """Return the bytes of the disk that a content takes."""
    return sum(512 * s.st_blocks for _, s in _all_of(folder, name))


def remove(folder: int, name: str) -> None:
    """Remove a file, or a folder with all that is in it, folders that are read-only too."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    os.chmod(name, 0o700, dir_fd=folder)
    for _, folders, _, inner in os.fwalk(name, dir_fd=folder):
        for entry in folders:
            if stat.S_ISDIR(os.stat(entry, dir_fd=inner, follow_symlinks=False).st_mode):
                os.chmod(entry, 0o700, dir_fd=inner)
    shutil.rmtree(name, dir_fd=folder)
