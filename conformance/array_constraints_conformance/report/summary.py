"""Summaries that all reports show: cells of the matrix, counterexamples, safe text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .outcomes import FAILURES, ORDER

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


def judged(record: Record) -> list[tuple[Record, Cell]]:
    """Return the requirements that were judged, with the worst outcome of each."""
    of_each: dict[str, list[Record]] = {}
    for result in record["results"]:
        of_each.setdefault(result["requirement"], []).append(result)
    pairs = [(each, cell(of_each[each["id"]])) for each in record["requirements"]]
    return [(each, found) for each, found in pairs if found.outcome not in SILENT]


def verdict(record: Record) -> str:
    """Return the verdict on the whole run."""
    if any(result["outcome"] in FAILURES for result in record["results"]):
        return "not met"
    met = any(verdict["outcome"] == "met" for verdict in record["verdicts"])
    return "met" if met else "untested"


def verdict_line(record: Record) -> str:
    """Return the subject, the verdict, and how many requirements it rests on."""
    outcomes = [found.outcome for _, found in judged(record)]
    failed = sum(outcome in FAILURES for outcome in outcomes)
    word, name = verdict(record), record["subject"]["name"]
    if word == "not met":
        return f"{name}: not met ({failed} of {_requirements(len(outcomes))})"
    met = outcomes.count("met")
    others = [f"{outcomes.count(o)} {o}" for o in ("known gap", "untested") if o in outcomes]
    return f"{name}: {word} ({', '.join([_requirements(met), *others])})"


def _requirements(count: int) -> str:
    return f"{count} requirement{'' if count == 1 else 's'}"


def libraries_line(record: Record) -> str:
    """Return the names of the libraries, or how many they are where they are many."""
    names = [library["name"] for library in record["libraries"]]
    return ", ".join(names) if len(names) < 5 else f"{len(names)} libraries"


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
