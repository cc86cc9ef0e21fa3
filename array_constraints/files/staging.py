"""Where a result is made: a folder beside the target, with a journal of what is done.

``OUT.partial/`` holds ``content-...``, the file or folder to be, and ``journal.jsonl``, a first
line that says what is being made, of what and where, and more that name regions on the disk.
At the end the content is renamed to ``OUT``, in one step, and the folder is removed: whenever
a run is stopped, ``OUT`` is absent, as it was before, or complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from array_constraints.files.stored import sync

Key: TypeAlias = tuple[str, tuple[tuple[int, int], ...]]
"""A tensor, and where a region of it starts and stops."""


_CLOSED = -1
_MARK = b"array_constraints journal 1\n"


class Staging:
    """The folder of one run. Use it as a context: it is locked as long."""

    def __init__(self, target: Path) -> None:
        self.target = target.absolute()
        self.folder = self.target.with_name(self.target.name + ".partial")
        # Another name each time: what is still under way for an earlier run writes nowhere.
        self.content = self.folder / f"content-{secrets.token_hex(4)}"
        self.done: set[Key] = set()
        self.begun: dict[str, Any] | None = None
        self.complete = False
        self._descriptor = _CLOSED

    @property
    def journal(self) -> Path:
        """The file of the journal."""
        return self.folder / "journal.jsonl"

    @property
    def old(self) -> Path:
        """Where an older folder is while another takes its place."""
        return self.folder / "old"

    def look(self) -> None:
        """Read what an earlier run has left; nothing is changed.

        Raises
        ------
        FileExistsError
            If what is there is nothing that a run has left.
        """
        if not os.path.lexists(self.folder):
            return
        ours = self.folder.is_dir() and not self.folder.is_symlink()
        if ours and any(self.folder.iterdir()):
            is_file = self.journal.is_file() and not self.journal.is_symlink()
            text = self.journal.read_bytes() if is_file else b"no journal"
            ours = not text or text.startswith(_MARK)
            self._read(text)
        if not ours:
            raise FileExistsError(
                f"{self.folder}: is in the way, and nothing that a run has left: move it"
            )

    def open(self) -> None:
        """Make the folder, or open the one that an earlier run has left, and read its journal.

        Raises
        ------
        BlockingIOError
            If another run is at work there.
        FileExistsError
            If what is there is nothing that a run has left.
        """
        self.look()
        self.folder.mkdir(exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self.journal, flags, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise BlockingIOError(f"{self.folder}: another run is at work there") from None
        os.ftruncate(self._descriptor, self._read(self.journal.read_bytes()))
        if not os.lseek(self._descriptor, 0, os.SEEK_END):
            os.write(self._descriptor, _MARK)

    def _read(self, text: bytes) -> int:
        """Read the journal up to a line that was not written to its end; return its length."""
        length = 0
        for line in text.splitlines(keepends=True):
            entry = {} if line == _MARK else _checked(line)
            if entry is None:
                break
            length += len(line)
            if "begun" in entry:
                self.begun = entry["begun"]
                self.content = self.folder / str(entry["content"])
            self.complete = self.complete or "complete" in entry
            for name, borders in entry.get("done", ()):
                self.done.add((name, tuple((start, stop) for start, stop in borders)))
        return length

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
        if not self.complete:
            sync(self.folder)
            self._write({"complete": True})
        if self.content.exists():
            if os.path.lexists(self.target) and not overwrite:
                raise FileExistsError(f"{self.target}: exists by now: overwrite it, or move it")
            if self.target.is_dir():  # no folder is renamed to one that is not empty
                self.target.replace(self.old)
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
        os.ftruncate(self._descriptor, len(_MARK))  # first: what is gone must not count as done
        os.fsync(self._descriptor)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self.done, self.begun, self.complete = set(), None, False
        self._empty()
        self.content = Staging(self.target).content

    def _empty(self) -> None:
        if self.old.exists() and not os.path.lexists(self.target):
            self.old.replace(self.target)  # a run was stopped between two renames
        for entry in self.folder.iterdir():
            if entry.name not in ("old", "spool") and not entry.name.startswith("content-"):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
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


def _checked(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None if it is not what was written."""
    digest, _, text = line.rstrip(b"\n").partition(b" ")
    if _digest(text) != digest or not line.endswith(b"\n"):
        return None
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
