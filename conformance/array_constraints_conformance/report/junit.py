"""The report as JUnit XML."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from .law import plain
from .outcomes import FAILURES
from .summary import Record, described, visible


def to_junit(record: Record) -> str:
    """Return JUnit XML: a suite for each library, a case for each requirement and constraint.

    ``not met``, ``gap closed`` and ``untested`` are failures; what was not judged, or is a
    known gap, is skipped. A case has requirement, scope, level and outcome as properties.
    """
    root = ElementTree.Element("testsuites", name=visible(record["suite"]["name"]))
    for library in record["libraries"]:
        of_library = [r for r in record["results"] if r["library"] == library["name"]]
        root.append(_suite(library, of_library, record))
    _count(root, record["results"])
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(library: Record, results: Sequence[Record], record: Record) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=visible(library["name"]))
    suite.set("timestamp", visible(record["created"]))
    _count(suite, results)
    _properties(
        suite,
        subject=record["subject"]["name"],
        subject_version=record["subject"]["version"] or "",
        library_version=library["version"] or "",
        device=library["device"],
        dtypes=" ".join(library["dtypes"]),
        profile=record["profile"],
        seed=str(record["seed"]),
        command=record["command"],
    )
    requirements = {r["id"]: r for r in record["requirements"]}
    suite.extend(_case(result, requirements[result["requirement"]]) for result in results)
    return suite


def _case(result: Record, requirement: Record) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        classname=visible(requirement["id"]),
        name=visible(f"{result['constraint']}: {requirement['title']}"),
        time=f"{result['seconds']:.3f}",
    )
    _properties(
        case,
        requirement=requirement["id"],
        scope=requirement["scope"],
        level=requirement["level"],
        outcome=result["outcome"],
    )
    outcome = result["outcome"]
    message = visible(_message(result))
    if outcome in FAILURES:
        failure = ElementTree.SubElement(case, "failure", type=outcome, message=message)
        failure.text = visible(_details(result, requirement))
    elif outcome != "met":
        ElementTree.SubElement(case, "skipped", message=message)
    return case


def _message(result: Record) -> str:
    """Return the outcome, with its reason or message in one line."""
    found = result["counterexample"]
    why = found["message"] if found else result["reason"]
    return f"{result['outcome']}: {why}" if why else str(result["outcome"])


def _details(result: Record, requirement: Record) -> str:
    lines = [plain(requirement["law"])]
    if result["reason"]:
        lines.append(f"reason: {result['reason']}")
    if found := result["counterexample"]:
        lines += [described(found), found["reproduce"]]
    return "\n".join(lines)


def _properties(parent: ElementTree.Element, **values: str) -> None:
    properties = ElementTree.SubElement(parent, "properties")
    for name, value in values.items():
        ElementTree.SubElement(properties, "property", name=name, value=visible(value))


def _count(element: ElementTree.Element, results: Sequence[Record]) -> None:
    outcomes = [result["outcome"] for result in results]
    failures = sum(outcome in FAILURES for outcome in outcomes)
    element.set("tests", str(len(outcomes)))
    element.set("failures", str(failures))
    element.set("errors", "0")
    element.set("skipped", str(len(outcomes) - failures - outcomes.count("met")))
    element.set("time", f"{sum(result['seconds'] for result in results):.3f}")
