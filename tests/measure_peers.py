"""Judge this library and its peers with the conformance suite, and write the page of results.

``nox -s results`` runs this. Each peer is judged in a process of its own, by the command line
of the suite, with the known gaps that the suite has for it; the page is made of the records.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from array_constraints_conformance.known_gaps import read
from array_constraints_conformance.report.outcomes import OUTCOMES, SYMBOLS
from array_constraints_conformance.report.summary import cell
from array_constraints_conformance.specification import Requirement, requirements
from judged_peers import OURS, PEERS, ROOT, Peer
from results_lead import LEAD, draw
from rich.progress import track

Record = dict[str, Any]

SCOPES = ("map", "Keras API")
OUTSIDE = "·"
LEGEND = ("known gap", "met", "not provided", "not applicable")  # all that can be left


def judged(peer: Peer, profile: str) -> Record:
    """Return the record of a peer, of which nothing may be left unexplained."""
    with tempfile.TemporaryDirectory() as folder:
        size = [f"--{profile}"] if profile != "default" else []
        done = peer.run(Path(folder), *size)
        if done.returncode:
            raise SystemExit(f"{peer.title}:\n{done.stdout}\n{done.stderr}")
        return json.loads(Path(folder, "report.json").read_text("utf-8"))  # type: ignore[no-any-return]


def shortened(value: str, length: int = 70) -> str:
    """Return text on one line, safe in a table cell."""
    line = " ".join(value.split()).replace("`", "'").replace("|", "\\|")
    return line if len(line) <= length else line[: length - 2].rstrip(" ,") + " …"


def code(value: str) -> str:
    return f"`{shortened(value)}`" if value else ""


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def results_of(record: Record, requirement: str) -> list[Record]:
    return [r for r in record["results"] if r["requirement"] == requirement]


def symbol(record: Record, requirement: str) -> str:
    """Return the worst outcome of a requirement, and how many share it if not all do."""
    results = results_of(record, requirement)
    if not results:
        return OUTSIDE
    worst = cell(results)
    shared = f" {worst.times}/{worst.judged}" if worst.times < worst.judged else ""
    return SYMBOLS[worst.outcome] + shared


def anchor(requirement: Requirement) -> str:
    """Return the anchor of a requirement's heading in the specification."""
    heading = f"{requirement.id} — {requirement.title}".lower()
    return re.sub(r"[^\w -]", "", heading).replace(" ", "-")


def matrix(records: dict[str, Record]) -> Iterator[str]:
    """Yield the table of requirements by implementation."""
    yield row("", "requirement", *records)
    yield "|---|---|" + "---|" * len(records)
    for requirement in requirements().values():
        if requirement.scope in SCOPES:
            cells = [symbol(record, requirement.id) for record in records.values()]
            title = f"[{requirement.title}](specification.md#{anchor(requirement)})"
            yield row(requirement.id, title, *cells)


def verdicts(records: dict[str, Record]) -> Iterator[str]:
    """Yield the table of what was judged, and how much of it is met, by scope."""
    yield row("implementation", "version", "on", *SCOPES)
    yield "|---|---|---|" + "---|" * len(SCOPES)
    for peer in (OURS, *PEERS.values()):
        record = records[peer.title]
        counts = {v["scope"]: v["counts"] for v in record["verdicts"]}
        cells = [counted(counts[scope]) if scope in counts else OUTSIDE for scope in SCOPES]
        on = ", ".join(f"`{library['name']}`" for library in record["libraries"])
        yield row(peer.title, version(peer.package), on, *cells)


def counted(counts: dict[str, int]) -> str:
    met, gaps = counts.get("met", 0), counts.get("known gap", 0)
    return f"{met} of {met + gaps} met"


def section(peer: Peer, record: Record) -> Iterator[str]:
    """Yield what a peer documents, the causes of its gaps, and a counterexample of each gap."""
    yield from (f"## {peer.title}", "", peer.contract, "", "```", peer.command, "```", "")
    gaps: dict[tuple[str, str], list[Record]] = {}
    for requirement in requirements():
        for result in results_of(record, requirement):
            if result["outcome"] == "known gap":
                gaps.setdefault((requirement, result["reason"]), []).append(result)
    links = {gap.reason: gap.link for gap in read(peer.gaps)}
    causes = list(dict.fromkeys(reason for _, reason in gaps))
    yield from (f"{i}. {cause} ([source]({links[cause]}))" for i, cause in enumerate(causes, 1))
    yield from ("", row("", "for", "cause", "input", "expected", "got"), "|---" * 6 + "|")
    for (requirement, reason), results in gaps.items():
        yield example(requirement, causes.index(reason) + 1, results)
    yield ""


def example(requirement: str, cause: int, results: list[Record]) -> str:
    """Return the row of a gap: where it is, why, and the shortest counterexample."""
    names = ", ".join(dict.fromkeys(result["constraint"] for result in results))
    shown = min((r["counterexample"] for r in results), key=lambda found: len(found["input"]))
    given = shown["constraint"] or shown["message"]
    dtype = f" {shown['dtype']}" if shown["dtype"] else ""
    entries = f" {code(shown['input'])}" if shown["input"] != given else ""
    put_in = f"{code(given)}{dtype}{entries}"
    return row(
        requirement, names, str(cause), put_in, code(shown["expected"]), code(shown["got"])
    )


def page(records: dict[str, Record], profile: str, own_profile: str) -> str:
    """Return the page of results as Markdown."""
    ours = records[OURS.title]
    own = next(v["counts"] for v in ours["verdicts"] if v["scope"] == "this API")
    packages = ("numpy", "torch", "jax", "ml-dtypes", "hypothesis")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    legend = [f"{o.symbol} {o.name}: {o.meaning}" for o in OUTCOMES if o.name in LEGEND]
    lines = [
        LEAD,
        "## Verdicts",
        "",
        "Each implementation is judged within the scope that it claims: *map* for what a",
        "function from weights to weights has to satisfy, *Keras API* for names, parameters",
        "and configs. A requirement counts once for each constraint and library. This page is",
        f"made by `nox -s results`, with the seed {ours['seed']} and the profile *{profile}*;",
        f"this library is judged with the profile *{own_profile}*.",
        "",
        *verdicts(records),
        "",
        f"Of *this API*, which only this library offers, {counted(own)}. With Python",
        f"{platform.python_version()} on {platform.machine()}, {versions}.",
        "",
        "## Requirements",
        "",
        *(f"- {line}" for line in legend),
        f"- {OUTSIDE} outside the scope that is claimed",
        "",
        "△ 2/3: the requirement is about 3 constraints, and 2 of them have a known gap.",
        "",
        *matrix(records),
        "",
        "What follows is each peer's documented contract, the line that judges it, the causes",
        "of its gaps, and one counterexample for each.",
        "",
    ]
    for peer in PEERS.values():
        lines += section(peer, records[peer.title])
    return "\n".join(lines).rstrip() + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    profiles = ("quick", "default", "thorough")
    parser.add_argument("--profile", choices=profiles, default="default")
    parser.add_argument("--own-profile", choices=profiles, default="quick")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results.md")
    options = parser.parse_args(argv)
    profile_of = {OURS.title: options.own_profile}
    records = {
        p.title: judged(p, profile_of.get(p.title, options.profile))
        for p in track((OURS, *PEERS.values()), "judging")
    }
    text = page(records, options.profile, options.own_profile)
    options.output.write_text(text, "utf-8")
    draw(text, options.output.with_suffix(".svg"))


if __name__ == "__main__":
    main()
