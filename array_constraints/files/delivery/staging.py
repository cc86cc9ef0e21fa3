"""Where a result is made: a locked folder beside the target, with a journal of what is there.

``OUT.partial/`` holds ``journal.jsonl``, and ``content-...``, the file or folder to be, which
is renamed to ``OUT`` at the end, in one step. Whenever a run is stopped, ``OUT`` is absent, as
it was, or complete. Four rules see to that, however many runs there are (decision 15):

- Lock first, then look. The lock is on the journal, and holds only if that is still the file
  that is found under its name. What was seen before is not used.
- A folder is ours to touch if all that is in it at one moment is a journal, or beside one.
- Names are looked up in the folder that was locked, by its descriptor, and lead nowhere else.
- What is left is compared before it is delivered; complete is what has the same stamp.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from array_constraints.files.delivery import content
from array_constraints.files.delivery.journal import (
    LONGEST,
    MARK,
    Key,
    is_journal,
    line_of,
    read_journal,
)
from array_constraints.files.delivery.permissions import close_to_others
from array_constraints.files.delivery.renames import rename_new
from array_constraints.files.delivery.replace import Judge, deliver
from array_constraints.files.formats.base import naming, sync, write_at

_CLOSED = -1
_JOURNAL, _OLD, _SPOOL = "journal.jsonl", "old", "spool"
_SECONDS_OF_PATIENCE = 0.5  # a run that only looks, or ends, holds the lock for less
_SECONDS_BETWEEN_TRIES = 0.005
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK, _UNLOCK = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging:
    """The folder of one run, locked from ``open`` to ``close``, and what its journal says."""

    def __init__(self, target: Path, judge: Judge = lambda replaced: None) -> None:
        self._judge_replaced = judge
        self.target = target.absolute()
        self.folder = self.target.with_name(self.target.name + ".partial")
        self._descriptor = self._lock = _CLOSED
        self._forget()

    def _forget(self) -> None:
        self.begun: dict[str, Any] | None = None
        self.done: set[Key] = set()
        self.complete = self.moved = self.doubt = ""
        self._length = 0
        # Another name each time: what is still under way for an earlier run writes nowhere.
        self.content = self.folder / f"content-{secrets.token_hex(8)}"

    @property
    def journal(self) -> Path:
        """The file of the journal."""
        return self.folder / _JOURNAL

    @property
    def old(self) -> Path:
        """Where an older folder is meanwhile, where two cannot change places in one step."""
        return self.folder / _OLD

    @property
    def locked(self) -> bool:
        """Whether the folder is this run's."""
        return self._lock != _CLOSED

    @property
    def delivered(self) -> bool:
        """Whether the target is what this journal calls complete, and nothing else since."""
        if not self.complete:
            return False
        folder = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return content.stamp(folder, self.target.name, moved=True) == self.moved
        finally:
            os.close(folder)

    @property
    def occupied(self) -> int:
        """The bytes that are free once this folder is cleared."""
        return content.size(self._descriptor, self.content.name) if self.locked else 0

    @property
    def intact(self) -> bool:
        """Whether the content is complete, and nothing was done to it since."""
        return bool(self.complete) and self.complete == self._stamp()

    def oddity(self, folder: bool) -> str:
        """Return why what is left is no file or folder to be continued; nothing if it is."""
        return self.doubt or content.oddity(self._descriptor, self.content.name, folder)

    def open(self, make: bool = True) -> bool:
        """Lock the folder and read its journal; return False if none is there or made.

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
        if locked:
            self._read()
            if make:  # from here on nobody else can put anything there
                close_to_others(self._descriptor)
        return locked

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
                self._judge(folder, names, made)
                how = _FILE if names else _FILE | os.O_CREAT
                lock = os.open(_JOURNAL, how, 0o600, dir_fd=folder)
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
                    raise self._in_the_way() from None
                raise
            opened.pop_all()
        self._descriptor, self._lock = folder, lock
        return True

    def _made(self) -> bool:
        try:
            self.folder.mkdir(0o700)
        except FileExistsError:
            return False
        return True

    def _judge(self, folder: int, names: list[str], made: bool) -> None:
        """Raise where a folder, of which all names were read at once, is not one of ours."""
        if names and _JOURNAL not in names:
            raise self._in_the_way()
        if not made and os.fstat(folder).st_uid != os.geteuid():
            raise FileExistsError(f"{self.folder}: is of another user: move it")

    def _is_current(self, folder: int, lock: int) -> bool:
        """Whether folder and journal are still those that are found under their names."""
        there = self.folder.lstat()
        named = os.stat(_JOURNAL, dir_fd=folder, follow_symlinks=False)
        return os.path.samestat(there, os.fstat(folder)) and os.path.samestat(
            named, os.fstat(lock)
        )

    def _in_the_way(self) -> FileExistsError:
        return FileExistsError(
            f"{self.folder}: is in the way, and nothing that a run has left: move it"
        )

    def _read(self) -> None:
        """Read the journal through its descriptor."""
        status = os.fstat(self._lock)
        is_one = stat.S_ISREG(status.st_mode) and status.st_size <= LONGEST
        with open(self._lock, "rb", closefd=False) as file:
            text = file.read() if is_one else b"no journal"
        if not is_journal(text):
            self.close()
            raise self._in_the_way()
        found = read_journal(text)
        self._forget()
        self.begun, self.done, self.doubt = found.begun, found.done, found.doubt
        self.complete, self.moved, self._length = found.complete, found.moved, found.length
        self.content = self.folder / (found.content or self.content.name)

    def begin(self, what: dict[str, Any]) -> None:
        """Write what is made of what; the content is prepared."""
        self._write({"begun": what, "content": self.content.name})
        self.begun = what

    def add(self, keys: list[Key]) -> None:
        """Write that regions are on the disk."""
        if keys:
            self._write({"done": keys})

    def commit(self, overwrite: bool) -> None:
        """Put the content, which is complete and on the disk, in the place of the target.

        Raises
        ------
        FileExistsError
            If there is a target by now that is not to be overwritten.
        """
        if self.begun is not None and not self.complete:
            sync(self.folder)
            self.complete, self.moved = self._stamp(), self._stamp(moved=True)
            self._write({"complete": self.complete, "moved": self.moved})
        if not self.delivered:
            judge = self._judge_replaced if overwrite else None
            deliver(self._descriptor, self.content, self.target, judge)
            sync(self.target.parent)
        self.remove()

    def remove(self) -> None:
        """Remove the folder and all of a run that is in it; the journal goes last."""
        self._empty()
        os.unlink(_JOURNAL, dir_fd=self._descriptor)
        with contextlib.suppress(
            OSError
        ):  # it holds something else, or is another run's by now
            self.folder.rmdir()
        self.close()

    def clear(self) -> None:
        """Begin anew: nothing is done."""
        if os.fstat(self._lock).st_size:  # first: what is gone must not count as done
            os.ftruncate(self._lock, 0)
            os.fsync(self._lock)
        self._forget()
        self._empty()

    def _empty(self) -> None:
        """Remove all of a run but the journal; an older target comes back to its place."""
        names = os.listdir(self._descriptor)  # noqa: PTH208 - no path
        if _OLD in names and not os.path.lexists(self.target):
            rename_new(self._descriptor, _OLD, self.target)  # stopped between two renames
            names.remove(_OLD)
        for name in names:
            if name in (_OLD, _SPOOL) or name.startswith("content-"):
                content.remove(self._descriptor, name)

    def close(self) -> None:
        """Unlock the folder, even if a process that was forked still has it open."""
        if self.locked:
            fcntl.flock(self._lock, _UNLOCK)
            os.close(self._lock)
            os.close(self._descriptor)
        self._descriptor = self._lock = _CLOSED

    def _stamp(self, *, moved: bool = False) -> str:
        return content.stamp(self._descriptor, self.content.name, moved=moved)

    def _write(self, entry: dict[str, Any]) -> None:
        text = line_of(entry) if self._length else MARK + line_of(entry)
        with naming(self.journal):
            os.ftruncate(self._lock, self._length)  # a line that was not written to its end
            write_at(self._lock, self._length, text)
            os.fsync(self._lock)
        self._length += len(text)


@contextlib.contextmanager
def staged(target: Path, judge: Judge) -> Iterator[Staging]:
    """Return the staging folder of a target, locked; it goes if nothing is left in it.

    ``judge`` raises where a target is not to be replaced.
    """
    with contextlib.closing(Staging(target, judge)) as staging:
        staging.open()
        try:
            yield staging
        finally:
            if staging.locked and staging.begun is None and not staging.doubt:
                staging.remove()
