"""Renames that never replace anything, and that let two change places in one step."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable
from pathlib import Path

_HERE = -100  # AT_FDCWD of Linux's <fcntl.h>: paths are as they are given
_NO_REPLACE, _EXCHANGE = 1, 2  # RENAME_NOREPLACE and RENAME_EXCHANGE of <linux/fs.h>
_NOT_OFFERED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM, errno.EMLINK)


def rename_new(folder: int, name: str, target: Path) -> None:
    """Rename what is called ``name`` in an opened folder to a target that there is not yet.

    Where the file system has no such rename, a file gets a second name instead; of a folder the
    system sees to it, but for an empty one that appears just then. Where there are no second
    names either, an empty file takes the place.

    Raises
    ------
    FileExistsError
        If there is anything at ``target``.
    """
    if _renamed(folder, name, target, _NO_REPLACE):
        return
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        _rename_folder(folder, name, target)
        return
    try:
        os.link(name, target, src_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.rename(name, target, src_dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def _rename_folder(folder: int, name: str, target: Path) -> None:
    """Rename a folder, which replaces nothing but an empty one that appears just then."""
    taken = FileExistsError(errno.EEXIST, "exists", str(target))
    if os.path.lexists(target):
        raise taken
    try:
        os.rename(name, target, src_dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise taken from None
        raise


def exchange(folder: int, name: str, target: Path) -> bool:
    """Let what is called ``name`` in an opened folder and a target change places, in one step.

    Returns
    -------
    bool
        False where the file system cannot, and nothing was done.
    """
    return _renamed(folder, name, target, _EXCHANGE)


def _renamed(folder: int, name: str, target: Path, how: int) -> bool:
    """Return whether the system has renamed; False where it does not offer that."""
    call = _system_call()
    if call is None:
        return False
    if call(folder, os.fsencode(name), _HERE, os.fsencode(target), how) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(target))


@functools.cache
def _system_call() -> Callable[..., int] | None:
    """Return ``renameat2`` of the C library, of glibc since 2.28."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    text, number = ctypes.c_char_p, ctypes.c_int
    call.argtypes = (number, text, number, text, ctypes.c_uint)
    return call
