"""The folder in which a result is made: locked, beside its target, with a journal.

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
import os
import secrets
import stat
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
from array_constraints.files.delivery.locking import JOURNAL, LockedFolder
from array_constraints.files.delivery.permissions import close_to_others
from array_constraints.files.delivery.renames import rename_new
from array_constraints.files.delivery.replace import CheckReplaceable, deliver
from array_constraints.files.formats.disk import naming, sync, write_at

_OLD, _SPOOL = "old", "spool"


class Staging(LockedFolder):
    """The folder of one run with its journal, locked from ``open`` to ``close``."""

    def __init__(self, target: Path, check: CheckReplaceable = lambda replaced: None) -> None:
        self.target = target.absolute()
        super().__init__(self.target.with_name(self.target.name + ".partial"))
        self._check_replaceable = check
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
        return self.folder / JOURNAL

    @property
    def old(self) -> Path:
        """The place of an older folder while two cannot change places in one step."""
        return self.folder / _OLD

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
        return content.size(self.descriptor, self.content.name) if self.locked else 0

    @property
    def intact(self) -> bool:
        """Whether the content is complete, and nothing was done to it since."""
        return bool(self.complete) and self.complete == self._stamp()

    def oddity(self, folder: bool) -> str:
        """Say why the content that is left cannot be continued; nothing if it can."""
        return self.doubt or content.oddity(self.descriptor, self.content.name, folder)

    def open(self, make: bool = True) -> bool:
        """Lock the folder and read its journal; return False if none is there or made.

        Raises
        ------
        BlockingIOError
            If another run is at work there.
        FileExistsError
            If what is there is nothing that a run has left.
        """
        locked = super().open(make)
        if locked:
            self._read()
            if make:  # from here on nobody else can put anything there
                close_to_others(self.descriptor)
        return locked

    def _read(self) -> None:
        """Read the journal through its descriptor."""
        status = os.fstat(self.lock)
        is_one = stat.S_ISREG(status.st_mode) and status.st_size <= LONGEST
        with open(self.lock, "rb", closefd=False) as file:
            text = file.read() if is_one else b"no journal"
        if not is_journal(text):
            self.close()
            raise self.in_the_way()
        found = read_journal(text)
        self._forget()
        self.begun, self.done, self.doubt = found.begun, found.done, found.doubt
        self.complete, self.moved, self._length = found.complete, found.moved, found.length
        self.content = self.folder / (found.content or self.content.name)

    def begin(self, fingerprint: dict[str, Any]) -> None:
        """Write the fingerprint of the run; the content is prepared."""
        self._write({"begun": fingerprint, "content": self.content.name})
        self.begun = fingerprint

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
            check = self._check_replaceable if overwrite else None
            deliver(self.descriptor, self.content, self.target, check)
            sync(self.target.parent)
        self.remove()

    def remove(self) -> None:
        """Remove the folder and all of a run that is in it; the journal goes last."""
        self._empty()
        os.unlink(JOURNAL, dir_fd=self.descriptor)
        with contextlib.suppress(OSError):  # it holds more, or is another run's by now
            self.folder.rmdir()
        self.close()

    def clear(self) -> None:
        """Begin anew: nothing is done."""
        if os.fstat(self.lock).st_size:  # first: what is gone must not count as done
            os.ftruncate(self.lock, 0)
            os.fsync(self.lock)
        self._forget()
        self._empty()

    def _empty(self) -> None:
        """Remove all of a run but the journal; an older target comes back to its place."""
        names = os.listdir(self.descriptor)  # noqa: PTH208 - no path
        if _OLD in names and not os.path.lexists(self.target):
            rename_new(self.descriptor, _OLD, self.target)  # stopped between two renames
            names.remove(_OLD)
        for name in names:
            if name in (_OLD, _SPOOL) or name.startswith("content-"):
                content.remove(self.descriptor, name)

    def _stamp(self, *, moved: bool = False) -> str:
        return content.stamp(self.descriptor, self.content.name, moved=moved)

    def _write(self, entry: dict[str, Any]) -> None:
        text = line_of(entry) if self._length else MARK + line_of(entry)
        with naming(self.journal):
            os.ftruncate(self.lock, self._length)  # a line that was not written to its end
            write_at(self.lock, self._length, text)
            os.fsync(self.lock)
        self._length += len(text)


@contextlib.contextmanager
def staged(target: Path, check: CheckReplaceable) -> Iterator[Staging]:
    """Return the staging folder of a target, locked; it goes if nothing is left in it.

    ``check`` raises where a target is not to be replaced.
    """
    with contextlib.closing(Staging(target, check)) as staging:
        staging.open()
        try:
            yield staging
        finally:
            if staging.locked and staging.begun is None and not staging.doubt:
                staging.remove()
