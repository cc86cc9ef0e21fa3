"""The journal of a run: lines about its progress, and how a later run reads them.

The first line names the format. Each of the others has a checksum, which shows where one was
not written to its end, and says one of three: which run it is, and the name of its content;
which regions are on the disk; that all is there. Anybody may have written it: every value is
checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Key: TypeAlias = tuple[str, tuple[tuple[int, int], ...]]
"""A tensor, and where a region of it starts and stops."""

MARK = b"array_constraints journal 1\n"
LONGEST = 2**30
"""Bytes of a journal at most, 1 GiB: a line of 100 bytes for each of ten million regions."""

_OURS = re.compile(rb"array_constraints journal [0-9]+\n")
_CONTENT = re.compile(r"content-[0-9a-f]{1,64}")


@dataclass
class Journal:
    """A journal as it was read, up to a line that was not written to its end."""

    length: int = 0
    """Bytes that were understood."""
    begun: dict[str, Any] | None = None
    """The fingerprint of the run."""
    content: str = ""
    """The name of the file or folder that is being made, in the folder of the journal."""
    done: set[Key] = field(default_factory=set)
    complete: str = ""
    """The stamp of the content, once it is complete."""
    moved: str = ""
    """The stamp that it has once it is renamed."""
    doubt: str = ""
    """Why it is not believed."""

    def take(self, entry: Any) -> bool:
        """Take over a line; return False if no run has written it."""
        match entry:
            case {"begun": dict(begun), "content": str(name), **more} if not more:
                self.content, known = name, self.begun
                self.begun = begun
                return known is None and _CONTENT.fullmatch(name) is not None
            case {"done": list(keys), **more} if not more and self.begun is not None:
                self.done.update(_key(key) for key in keys if _is_key(key))
                return all(map(_is_key, keys))
            case {"complete": str(stamp), "moved": str(moved), **more} if not more:
                self.complete, self.moved = stamp, moved
                return self.begun is not None and "" not in (stamp, moved)
        return False


def is_journal(text: bytes) -> bool:
    """Whether a run of any version has begun to write a text as its journal."""
    return MARK.startswith(text) or _OURS.match(text) is not None


def line_of(entry: dict[str, Any]) -> bytes:
    """Return a line of a journal."""
    text = json.dumps(entry, separators=(",", ":")).encode()
    return _checksum(text) + b" " + text + b"\n"


def read_journal(text: bytes) -> Journal:
    """Read a journal, as far as it can be believed."""
    found = Journal()
    if not text.startswith(MARK):
        if not MARK.startswith(text):
            found.doubt = "its journal was written by another version"
        return found
    found.length = len(MARK)
    for line in text[len(MARK) :].split(b"\n")[:-1]:
        checksum, _, said = line.partition(b" ")
        if _checksum(said) != checksum:
            break
        try:
            understood = found.take(json.loads(said))
        except (ValueError, RecursionError):
            understood = False
        if not understood:
            return Journal(
                doubt=f"its journal has a line that no run has written: {said[:60]!r}"
            )
        found.length += len(line) + 1
    return found


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()


def _is_key(key: Any) -> bool:
    match key:
        case [str(), list(borders)]:
            return all(
                isinstance(pair, list) and len(pair) == 2 and {type(n) for n in pair} == {int}
                for pair in borders
            )
    return False


def _key(key: Any) -> Key:
    name, borders = key
    return name, tuple((start, stop) for start, stop in borders)
