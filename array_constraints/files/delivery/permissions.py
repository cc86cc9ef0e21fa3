"""The permissions of a result: its owner's alone while it is made, then those of the source.

A result is made in a folder of mode 0700, which hands down to what is made in it, by libraries
too, that it is for its owner alone. A copy that is complete gets owner, access lists, other
extended attributes and mode of its source, as ``cp -p`` keeps them, in an order in which it is
never more open; not the times, because what is in it is new.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import struct
from collections.abc import Collection
from pathlib import Path

_FOR_WHAT_IS_MADE = "system.posix_acl_default"
_ACCESS_LISTS = ("system.posix_acl_access", _FOR_WHAT_IS_MADE)
_OWNER, _GROUP, _OTHERS, _NO_ONE = 1, 4, 32, 2**32 - 1  # as <linux/posix_acl_xattr.h> has them
_OWNER_ALONE = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", who, may, _NO_ONE)
    for who, may in ((_OWNER, 7), (_GROUP, 0), (_OTHERS, 0))
)
_NOT_ALLOWED = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENODATA)


def close_to_others(folder: int) -> None:
    """Let nobody but its owner into a folder that was opened, nor into what is made in it."""
    os.fchmod(folder, 0o700)
    with contextlib.suppress(OSError):  # where there are no access lists, the mode has to do
        os.setxattr(folder, _FOR_WHAT_IS_MADE, _OWNER_ALONE)


def make_private(content: Path) -> None:
    """Take back from a copy what :func:`keep` gave to it: it is to be written again."""
    for path in _all_of(content):
        path.chmod(0o700 if path.is_dir() else 0o600)


def keep(source: Path, content: Path) -> None:
    """Give a copy, a file or a folder, the owner, lists and modes of its source.

    A file that has no counterpart in the source gets the mode that all files there share.
    """
    shared = functools.cache(_shared)
    for path in _all_of(content):
        original = source / path.relative_to(content)
        if path.is_dir():
            original = next(p for p in (original, *original.parents) if p.is_dir())
        if original.exists():
            _keep(path, original.stat(), _names(original), original)
        else:
            _keep(path, shared(source), (), source)


def _all_of(content: Path) -> list[Path]:
    """Return all files and folders of a copy, and at last itself."""
    found = []
    for folder, folders, files in os.walk(content):
        found += [Path(folder, name) for name in folders + files]
    return [*reversed(found), content]


def _shared(source: Path) -> os.stat_result:
    """Return the status of a folder, with the mode that all files in it share."""
    mode = 0o666
    for folder, _, files in os.walk(source):
        for name in files:
            mode &= Path(folder, name).stat().st_mode
    return os.stat_result((mode, *source.stat()[1:]))


def _keep(copy: Path, status: os.stat_result, names: Collection[str], original: Path) -> None:
    """Give a copy the owner and mode of a status, and the extended attributes of a file."""
    made = copy.lstat()
    kept = (status.st_uid, status.st_gid) == (made.st_uid, made.st_gid)
    group_kept = kept or _owned(copy, status)
    lists_kept = _attributes_kept(copy, names, original)
    mode = stat.S_IMODE(status.st_mode)
    if not (group_kept and lists_kept):
        mode &= ~0o070 | (mode & 0o007) << 3  # a group that is not the one that was meant
    made = copy.lstat()
    if made.st_uid != status.st_uid or not group_kept:
        mode &= 0o777  # no program runs as somebody else
    if stat.S_IMODE(made.st_mode) != mode:
        copy.chmod(mode)


def _owned(copy: Path, status: os.stat_result) -> bool:
    """Give a copy owner and group, as far as that is allowed; return if it has the group."""
    for owner in (status.st_uid, -1):
        try:
            os.chown(copy, owner, status.st_gid)
        except OSError as error:
            if error.errno not in _NOT_ALLOWED:
                raise
        else:
            return True
    return False


def _attributes_kept(copy: Path, names: Collection[str], original: Path) -> bool:
    """Copy extended attributes as far as that is allowed; return whether access lists are kept.

    A new file may have inherited a list from its folder, which goes.
    """
    kept = True
    for name in set(_names(copy)).intersection(_ACCESS_LISTS).difference(names):
        os.removexattr(copy, name)
    for name in names:
        try:
            os.setxattr(copy, name, os.getxattr(original, name))
        except OSError as error:
            if error.errno not in _NOT_ALLOWED:
                raise
            kept = kept and name not in _ACCESS_LISTS
    return kept


def _names(path: Path) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError as error:
        if error.errno not in _NOT_ALLOWED:
            raise
        return []
