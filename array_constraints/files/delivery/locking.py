"""A folder that belongs to one run at a time: the journal in it is its lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

JOURNAL = "journal.jsonl"
_CLOSED = -1
_SECONDS_OF_PATIENCE = 0.5  # a run that only looks, or ends, holds the lock for less
_SECONDS_BETWEEN_TRIES = 0.005
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK, _UNLOCK = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN


class LockedFolder:
    """A folder with a journal, locked from ``open`` to ``close``.

    ``descriptor`` is that of the folder, ``lock`` that of the journal, once they are open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.descriptor = self.lock = _CLOSED

    @property
    def locked(self) -> bool:
        """Whether the folder is this run's."""
        return self.lock != _CLOSED

    def open(self, make: bool = True) -> bool:
        """Lock the folder; return False if none is there or made.

        Raises
        ------
        BlockingIOError
            If another run is at work there.
        FileExistsError
            If what is there is nothing that a run has left.
        """
        until = time.monotonic() + _SECONDS_OF_PATIENCE
        while (locked := self._locked(make)) is None:
            if time.monotonic() > until:
                raise BlockingIOError(f"{self.folder}: another run is at work there")
            time.sleep(_SECONDS_BETWEEN_TRIES)
        return locked

    def close(self) -> None:
        """Unlock the folder, even if a process that was forked still has it open."""
        if self.locked:
            fcntl.flock(self.lock, _UNLOCK)
            os.close(self.lock)
            os.close(self.descriptor)
        self.descriptor = self.lock = _CLOSED

    def in_the_way(self) -> FileExistsError:
        """Return the error for a folder that no run has left."""
        return FileExistsError(
            f"{self.folder}: is in the way, and nothing that a run has left: move it"
        )

    def _locked(self, make: bool) -> bool | None:
        """Lock the folder; return None if another run has it, or has just removed it."""
        made = make and self._made()
        with contextlib.ExitStack() as opened:
            try:
                folder = os.open(self.folder, _FOLDER)
                opened.callback(os.close, folder)
                names = os.listdir(folder)  # noqa: PTH208 - no path
                if not (names or make):
                    return False
                self._check_ours(folder, names, made)
                how = _FILE if names else _FILE | os.O_CREAT
                lock = os.open(JOURNAL, how, 0o600, dir_fd=folder)
                opened.callback(os.close, lock)
                fcntl.flock(lock, _LOCK)
                if not self._is_current(folder, lock):
                    return None
            except BlockingIOError:
                return None
            except FileNotFoundError:
                return None if make or os.path.lexists(self.folder) else False
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
                    raise self.in_the_way() from None
                raise
            opened.pop_all()
        self.descriptor, self.lock = folder, lock
        return True

    def _made(self) -> bool:
        try:
            self.folder.mkdir(0o700)
        except FileExistsError:
            return False
        return True

    def _check_ours(self, folder: int, names: list[str], made: bool) -> None:
        """Raise where a folder, of which all names were read at once, is not one of ours."""
        if names and JOURNAL not in names:
            raise self.in_the_way()
        if not made and os.fstat(folder).st_uid != os.geteuid():
            raise FileExistsError(f"{self.folder}: is of another user: move it")

    def _is_current(self, folder: int, lock: int) -> bool:
        """Whether folder and journal are still those that are found under their names."""
        there = self.folder.lstat()
        named = os.stat(JOURNAL, dir_fd=folder, follow_symlinks=False)
        return os.path.samestat(there, os.fstat(folder)) and os.path.samestat(
            named, os.fstat(lock)
        )
