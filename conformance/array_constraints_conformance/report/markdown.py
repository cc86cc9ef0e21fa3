"""The report as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from .outcomes import ORDER, OUTCOMES, SYMBOLS
from .summary import FINDINGS, Record, cell, described, named, visible

SPECIAL = re.compile(r"[\\`*_\[\]<>|&$#~!]")


def to_markdown(record: Record) -> str:
    """Return Markdown: verdicts, the matrix, then every finding with its counterexample."""
    parts = (_head, _verdicts, _libraries, _matrix, _findings)
    return "\n".join(line for part in parts for line in part(record)).rstrip() + "\n"


def _head(record: Record) -> Iterator[str]:
    yield f"# Conformance of {_plain(named(record['subject']))}"
    yield ""
    yield f"- Suite: {_plain(named(record['suite']))}"
    yield f"- Made: {_plain(record['created'])}"
    yield f"- Profile: {_plain(record['profile'])}, seed {record['seed']}"
    if record["timeout"]:
        yield f"- Limit: {record['timeout']:g} s for each requirement of a constraint"
    yield f"- Constraints: {_plain(', '.join(record['constraints']))}"
    yield f"- Command: {_code(record['command'])}"
    yield ""


def _verdicts(record: Record) -> Iterator[str]:
    yield "## Verdicts"
    yield ""
    why = {choice["scope"]: choice["reason"] for choice in record["scopes"]}
    rows = []
    for verdict in record["verdicts"]:
        counts = verdict["counts"]
        shown = ", ".join(f"{counts[name]} {name}" for name in ORDER if counts.get(name))
        name, outcome = _plain(verdict["scope"]), _outcome(verdict["outcome"])
        rows.append([name, outcome, shown, _plain(why[verdict["scope"]])])
    for choice in record["scopes"]:
        if not choice["judged"]:
            rows.append([_plain(choice["scope"]), "not judged", "", _plain(choice["reason"])])
    yield from _table(["Scope", "Verdict", "Results", "Why it is judged, or not"], rows)


def _libraries(record: Record) -> Iterator[str]:
    yield "## Libraries"
    yield ""
    rows = [
        [
            _plain(library["name"]),
            _plain(library["version"] or "unknown"),
            _plain(library["device"]),
            _plain(", ".join(library["dtypes"])),
        ]
        for library in record["libraries"]
    ]
    yield from _table(["Library", "Version", "Device", "Dtypes"], rows)


def _matrix(record: Record) -> Iterator[str]:
    yield "## Requirements"
    yield ""
    yield "A cell shows the worst outcome over the constraints; *1 of 3* counts those judged."
    yield ""
    cells: dict[tuple[str, str], list[Record]] = {}
    for result in record["results"]:
        cells.setdefault((result["requirement"], result["library"]), []).append(result)
    libraries = [library["name"] for library in record["libraries"]]
    rows = []
    for requirement in record["requirements"]:
        title = f"**{_plain(requirement['id'])}** {_prose(requirement['title'])}"
        scope = f"{_plain(requirement['scope'])}, {requirement['level']}"
        of_each = (cells.get((requirement["id"], library), []) for library in libraries)
        rows.append([title, scope, *map(_summary, of_each)])
    yield from _table(["Requirement", "Scope", *map(_plain, libraries)], rows)
    for outcome in OUTCOMES:
        yield f"- {_outcome(outcome.name)}: {outcome.meaning}."
    yield ""


def _findings(record: Record) -> Iterator[str]:
    found = [result for result in record["results"] if result["outcome"] in FINDINGS]
    yield "## Findings"
    yield ""
    if not found:
        yield "None."
    for requirement in record["requirements"]:
        results = [result for result in found if result["requirement"] == requirement["id"]]
        if results:
            yield from _requirement(requirement)
            for group in _groups(results):
                yield from _finding(group)


def _requirement(requirement: Record) -> Iterator[str]:
    yield f"### {_plain(requirement['id'])} — {_prose(requirement['title'])}"
    yield ""
    about = (requirement[key] for key in ("level", "scope", "constraints", "libraries"))
    yield f"{'; '.join(_plain(text) for text in about)}."
    yield ""
    yield from (f"> {line}".rstrip() for line in visible(requirement["law"]).splitlines())
    yield ""


def _groups(results: Iterable[Record]) -> list[list[Record]]:
    """Put together the results that differ only in their library, the worst first."""
    groups: dict[str, list[Record]] = {}
    for result in sorted(results, key=lambda result: ORDER.index(result["outcome"])):
        same = [result[key] for key in ("outcome", "constraint", "reason", "counterexample")]
        groups.setdefault(json.dumps(same), []).append(result)
    return list(groups.values())


def _finding(group: Sequence[Record]) -> Iterator[str]:
    result, found = group[0], group[0]["counterexample"]
    libraries = ", ".join(_plain(each["library"]) for each in group)
    yield f"#### {_outcome(result['outcome'])}: {_plain(result['constraint'])} on {libraries}"
    yield ""
    if result["reason"]:
        yield _prose(result["reason"])
        yield ""
    if found:
        yield from _block(described(found), "text")
        yield from _block(found["reproduce"], "sh")


def _summary(results: Sequence[Record]) -> str:
    if not results:
        return ""
    outcome, times, judged = cell(results)
    return _outcome(outcome) + (f" {times} of {judged}" if times < judged else "")


def _outcome(name: str) -> str:
    return f"{SYMBOLS[name]} {name}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""


def _line(text: str) -> str:
    return " ".join(visible(text).split())


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return SPECIAL.sub(r"\\\g<0>", _line(text))


def _prose(text: str) -> str:
    """Return text in which only `code` keeps its meaning; a table's pipe ends it."""
    parts = re.split(r"(`[^`|]+`)", _line(text))
    return "".join(
        part if i % 2 else SPECIAL.sub(r"\\\g<0>", part) for i, part in enumerate(parts)
    )


def _code(text: str) -> str:
    """Return an inline code span on one line; its fence is longer than any backticks inside."""
    line = _line(text)
    fence = "`" * (_longest_ticks(line) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def _block(text: str, language: str) -> list[str]:
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return [f"{fence}{language}", *visible(text).split("\n"), fence, ""]


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
