"""Where a result is made: a folder beside the target, with a journal of what is done.

``OUT.partial/`` holds ``content``, the file or folder to be, and ``journal.jsonl``. The journal
begins with a line that says what is being made, of what; each further line names regions that
are on the disk. At the end ``content`` is renamed to ``OUT``, in one step, and the folder is
removed: whenever a run is stopped, ``OUT`` is absent, as it was before, or complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from array_constraints.files.stored import sync

Key: TypeAlias = tuple[str, tuple[tuple[int, int], ...]]
"""A tensor, and where a region of it starts and stops."""


_CLOSED = -1


class Staging:
    """The folder of one run. Use it as a context: it is locked as long."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.with_name(target.name + ".partial")
        self.content = self.folder / "content"
        self.done: set[Key] = set()
        self.begun: dict[str, Any] | None = None
        self.complete = False
        self._descriptor = _CLOSED

    @property
    def journal(self) -> Path:
        """The file of the journal."""
        return self.folder / "journal.jsonl"

    def open(self) -> None:
        """Make the folder, or open the one that an earlier run has left, and read its journal.

        Raises
        ------
        BlockingIOError
            If another run is at work there.
        """
        self.folder.mkdir(exist_ok=True)
        self._descriptor = os.open(self.journal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise BlockingIOError(f"{self.folder}: another run is at work there") from None
        self._read()

    def _read(self) -> None:
        """Read the journal; what follows its last whole line was not written to the end."""
        text = self.journal.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        lines: list[dict[str, Any]] = []
        for line in whole.splitlines(keepends=True):
            try:
                lines.append(_checked(line))
            except ValueError:
                break
        good = b"".join(whole.splitlines(keepends=True)[: len(lines)])
        os.ftruncate(self._descriptor, len(good))
        os.lseek(self._descriptor, 0, os.SEEK_END)
        for entry in lines:
            self.begun = entry.get("begun", self.begun)
            self.complete = self.complete or "complete" in entry
            for name, borders in entry.get("done", ()):
                self.done.add((name, tuple((start, stop) for start, stop in borders)))

    def begin(self, what: dict[str, Any]) -> None:
        """Write the first line; the content is prepared."""
        self._write({"begun": what})
        self.begun = what

    def add(self, keys: list[Key]) -> None:
        """Write that regions are on the disk."""
        if keys:
            self._write({"done": keys})

    def commit(self) -> None:
        """Put the content, which is complete and on the disk, in the place of the target."""
        if not self.complete:
            sync(self.folder)
            self._write({"complete": True})
        if self.content.exists():
            if self.target.is_dir():  # no folder is renamed to one that is not empty
                self.target.replace(self.folder / "old")
            self.content.replace(self.target)
            sync(self.target.parent)
        self.remove()

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        self._empty()
        self.journal.unlink()
        self.folder.rmdir()
        self.close()

    def clear(self) -> None:
        """Begin anew: nothing is done."""
        self._empty()
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.done, self.begun, self.complete = set(), None, False

    def _empty(self) -> None:
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry != self.journal:
                entry.unlink()

    def close(self) -> None:
        """Unlock the folder."""
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor = _CLOSED

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, separators=(",", ":")).encode()
        os.write(self._descriptor, _digest(text) + b" " + text + b"\n")
        os.fsync(self._descriptor)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()


def _checked(line: bytes) -> dict[str, Any]:
    digest, _, text = line.rstrip(b"\n").partition(b" ")
    if _digest(text) != digest:
        raise ValueError("the line is not what was written")
    found: dict[str, Any] = json.loads(text)
    return found


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Staging]:
    """Return the staging folder of a target, locked."""
    staging = Staging(target)
    staging.open()
    try:
        yield staging
    finally:
        staging.close()
