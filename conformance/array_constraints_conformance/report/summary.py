"""Summaries that all reports show: cells of the matrix, counterexamples, safe text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .outcomes import ORDER

Record = Mapping[str, Any]


FINDINGS = ORDER[:4]
SILENT = ORDER[5:]  # nothing was judged

# The fields of a counterexample that are shown, in reading order.
SHOWN = ("constraint", "dtype", "input", "expected", "got", "message")

# Forbidden in XML 1.0, or able to reorder or hide the text around them.
UNSAFE = re.compile(
    "[^\t\n\x20-\x7e\xa0-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff"
    "\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


class Cell(NamedTuple):
    """The worst outcome among some results, and how many of those that were judged share it."""

    outcome: str
    times: int
    judged: int


def cell(results: Iterable[Record]) -> Cell:
    """Summarise results, at least one; where any was judged, only those count."""
    outcomes = sorted((result["outcome"] for result in results), key=ORDER.index)
    counted = [outcome for outcome in outcomes if outcome not in SILENT] or outcomes
    return Cell(counted[0], counted.count(counted[0]), len(counted))


def described(found: Record) -> str:
    """Return a counterexample, without how to reproduce it, as aligned lines."""
    lines = []
    for name in SHOWN:
        if found[name]:
            first, *others = found[name].split("\n")
            lines += [f"{f'{name}:':<12}{first}", *(" " * 12 + line for line in others)]
    return "\n".join(lines)


def named(thing: Record) -> str:
    """Return a name with its version, where that is known."""
    return f"{thing['name']} {thing['version']}" if thing["version"] else str(thing["name"])


def visible(text: str) -> str:
    r"""Write characters that are unsafe in a report as Python escapes.

    >>> visible("a\x00b")
    'a\\x00b'
    """
    return UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)
