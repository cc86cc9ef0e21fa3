"""The report as lines of plain text, for a terminal or a log: the verdict comes last."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from .law import plain
from .outcomes import FAILURES, ORDER, SYMBOLS
from .summary import Record, judged, named, verdict, verdict_line, visible
from .table import Line, Table, table

MOST_LINES = 40  # of a report that does not show everything: what a terminal shows at once
WITHOUT_A_TERMINAL = 120  # characters on a line of a log
_LAW_ROWS = 4  # that the law of the first counterexample may take; a value may take one
_OPTIONS = {"map": "map", "Keras API": "keras", "this API": "this"}


def first_lines(record: Record, width: int) -> list[Line]:
    """Return the verdict, and of what is not met as much as fits on 40 lines."""
    failed = _failed(record)
    before, after = _head(record), _foot(record, width)
    if not failed:
        return before + after[1:]
    found = next(_failures(record, failed))
    first, *others = _explained(record, found, width, True)
    example = [[("First counterexample: ", ""), *first], *others]
    after = [[], *example, _plain(_how_to_see_all(record, found)), *after]
    heads, rows, legend = table(record, failed, width)
    counted = any("/" in text for row in rows for text, outcome in row if outcome)
    shares = " (3/4: by 3 of the 4 constraints that were judged)" if counted else ""
    before += [_plain(f"Not met{shares}:"), *legend, *heads]
    left = MOST_LINES - sum(_height(line, width) for line in before + after)
    if len(rows) > left:
        rows = rows[: max(0, left - 1)]
        rows.append(_plain(f"  and {len(failed) - len(rows)} more"))
    return before + rows + after


def all_lines(record: Record, width: int) -> list[Line]:
    """Return every requirement, every counterexample, and the verdict."""
    found: Table = table(record, record["requirements"], width)
    lines = _head(record) + found.legend + found.heads + found.rows
    for result in _failures(record, _failed(record)):
        lines += [[], *_explained(record, result, width, False)]
    return lines + _foot(record, width)


def _failed(record: Record) -> list[Record]:
    return [each for each, found in judged(record) if found.outcome in FAILURES]


def _failures(record: Record, failed: Sequence[Record]) -> Iterator[Record]:
    """Yield the results that fail, by requirement, the worst of each first."""
    for requirement in failed:
        own = [r for r in record["results"] if r["requirement"] == requirement["id"]]
        for outcome in FAILURES:
            yield from (result for result in own if result["outcome"] == outcome)


def _head(record: Record) -> list[Line]:
    libraries = record["libraries"]
    shown = [f"{named(each)} ({each['device']})" for each in libraries]
    where = ", ".join(shown) if len(shown) < 3 else f"{len(shown)} libraries"
    profile = f"{record['profile']} profile, seed {record['seed']}"
    return [_plain(f"{named(record['subject'])} on {where}; {profile}"), []]


def _explained(record: Record, result: Record, width: int, short: bool) -> list[Line]:
    """Return a result that fails as lines, the last of them how to judge it again."""
    (requirement,) = (r for r in record["requirements"] if r["id"] == result["requirement"])
    title = f"{requirement['id']} {requirement['title']}: "
    place = f", {result['constraint']} on {result['library']}"
    found = result["counterexample"]
    law = textwrap.wrap(f"law: {plain(requirement['law'])}", width - 4) or ["law:"]
    if short and len(law) > _LAW_ROWS:
        law = [*law[: _LAW_ROWS - 1], _cropped(" ".join(law[_LAW_ROWS - 1 :]), width - 4)]
    fields = [law[0], *(f"  {line}" for line in law[1:])]
    values = _values(result, found)
    fields += [_cropped(value, width - 2) for value in values] if short else values
    lines = [_plain(f"  {field}") for field in fields]
    if found:
        lines += [_plain("  reproduce:"), _plain(f"    {found['reproduce']}")]
    outcome = result["outcome"]
    return [[(visible(title), ""), (outcome, outcome), (visible(place), "")], *lines]


def _values(result: Record, found: Record | None) -> list[str]:
    """Return what the counterexample holds, each value on one line."""
    if not found:
        return [result["reason"]] if result["reason"] else []
    source, _, note = found["input"].partition("  # ")
    about = ", ".join(filter(None, (found["dtype"], note)))
    given = f"({about}) {source}" if about else source
    shown = [
        ("constraint", found["constraint"]),
        ("input", given if found["input"] else ""),
        ("expected", found["expected"]),
        ("got", found["got"]),
    ]
    values = [found["message"], *(f"{label}: {value}" for label, value in shown if value)]
    return [" ".join(line.strip() for line in value.splitlines()) for value in values]


def _how_to_see_all(record: Record, first: Record) -> str:
    failures = [result for result in record["results"] if result["outcome"] in FAILURES]
    count, said = len(failures), _exception(first)
    alike = sum(_exception(result) == said for result in failures) if said else 0
    command = record["timeout"] is not None
    ways = "--all, or --report DIR" if command else ".text(every=True), or .write(folder)"
    whole = "everything" if count == 1 else f"all {count} counterexamples"
    return f"  see {whole}{f', {alike} with this exception' if alike > 1 else ''}: {ways}"


def _exception(result: Record) -> str:
    """Return the exception that a counterexample raised, or nothing."""
    message = (result["counterexample"] or {"message": ""})["message"]
    return message if message.startswith("raised ") else ""


def _foot(record: Record, width: int) -> list[Line]:
    """Return a line for each scope, and the verdict."""
    verdicts = {each["scope"]: each for each in record["verdicts"]}
    lines: list[Line] = [[]]
    for choice in record["scopes"]:
        name = f"  {choice['scope']:<9}  "
        given = verdicts.get(choice["scope"])
        if given is None:
            lines.append([(name, ""), (_not_judged(choice, record), "")])
            continue
        counts = given["counts"]
        shown = ", ".join(f"{counts[o]} {o}" for o in ORDER if counts.get(o))
        outcome = f"{SYMBOLS[given['outcome']]} {given['outcome']}"
        rest = f"  {shown}; {choice['reason']}"
        lines.append([(name, ""), (f"{outcome:<10}", given["outcome"]), (visible(rest), "")])
    word = verdict(record)
    name, _, rest = verdict_line(record).rpartition(f": {word}")
    return [*lines, [], [(f"{visible(name)}: ", ""), (word, word), (rest, "")]]


def _not_judged(choice: Record, record: Record) -> str:
    if choice["judged"]:
        return "no requirement was left to judge"
    option = f"--scope {_OPTIONS[choice['scope']]}"
    how = option if record["timeout"] is not None else f"scope={choice['scope']!r}"
    asked = "" if choice["reason"].startswith("CONFORMANCE_SCOPES") else f" ({how} judges it)"
    return f"not judged: {visible(choice['reason'])}{asked}"


def _height(line: Line, width: int) -> int:
    """Return how many rows of a terminal a line takes."""
    return max(1, -(-sum(len(text) for text, _ in line) // width))


def _plain(text: str) -> Line:
    return [(visible(text), "")]


def _cropped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
