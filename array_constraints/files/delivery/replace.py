"""The last step of a run: what was made takes the place of its target, in one step."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from array_constraints.files.delivery.renames import exchange, rename_new

CheckReplaceable = Callable[[Path], None]
"""Raises where a file or folder is not to be replaced."""


def deliver(folder: int, made: Path, target: Path, check: CheckReplaceable | None) -> None:
    """Put what was made, in a folder that was opened, in the place of a target, in one step.

    Parameters
    ----------
    check
        Looks at what is there, before and after it has changed places with what was made; None
        if nothing is to be replaced.

    Raises
    ------
    FileExistsError
        If there is something at the target that is not to be replaced.
    """
    with _movable(made, target):
        while True:
            with contextlib.suppress(FileExistsError):
                rename_new(folder, made.name, target)
                return
            if check is None:
                raise FileExistsError(
                    f"{target}: exists by now: replace it with overwrite=True, or move it"
                )
            with contextlib.suppress(FileNotFoundError):  # it is gone by now: once more
                seen = target.lstat()
                check(target)
                _replace(folder, made, target, check, seen)
                return


def _replace(
    folder: int, made: Path, target: Path, check: CheckReplaceable, seen: os.stat_result
) -> None:
    if exchange(folder, made.name, target):
        try:
            old = made.lstat()  # what was the target a moment ago
            if stat.S_ISDIR(old.st_mode) or not os.path.samestat(old, seen):
                check(made)
        except BaseException:
            exchange(folder, made.name, target)
            raise
    elif target.is_dir():  # absent in between
        target.replace(made.with_name("old"))
        rename_new(folder, made.name, target)
    else:
        made.replace(target)


@contextlib.contextmanager
def _movable(*folders: Path) -> Iterator[None]:
    """Let read-only folders be moved: the system asks that they are writable for that."""
    with contextlib.ExitStack() as stack:
        for folder in folders:
            with contextlib.suppress(OSError):  # it is no folder, or of somebody else
                opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                stack.callback(os.close, opened)
                mode = stat.S_IMODE(os.fstat(opened).st_mode)
                if not mode & stat.S_IWUSR:
                    os.fchmod(opened, mode | stat.S_IWUSR)
                    stack.callback(os.fchmod, opened, mode)
        yield
