"""The requirements, read from ``specification.md``, their only home."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources

LEVELS = ("MUST", "SHOULD")
SCOPES = ("map", "Keras API", "this API")
_HEADING = re.compile(r"### (?P<id>[A-Z]+-\d+) — (?P<title>.+)")
_TERMS = re.compile(
    r"\*(?P<level>\w+) · (?P<scope>[\w ]+)"
    r" · (?P<constraints>[\w ,-]+) · (?P<libraries>[\w -]+)\*"
)


@dataclass(frozen=True)
class Requirement:
    """One law: its ID, level and scope, and the constraints and libraries it applies to."""

    id: str
    level: str
    scope: str
    title: str
    law: str
    constraints: str
    libraries: str = "every library"

    def __post_init__(self) -> None:
        """Refuse a level or a scope that there is not."""
        if self.level not in LEVELS or self.scope not in SCOPES:
            raise ValueError(f"{self.id}: unknown level or scope: {self.level}, {self.scope}")

    @property
    def terms(self) -> frozenset[str]:
        """The terms for the constraints that it applies to; one of them is enough."""
        return frozenset(term.strip() for term in self.constraints.split(","))


def text() -> str:
    """Return the specification as it is written."""
    return resources.files(__package__).joinpath("specification.md").read_text("utf-8")


@functools.cache
def requirements() -> dict[str, Requirement]:
    """Return the requirements by their IDs, in the order of the specification.

    Raises
    ------
    ValueError
        If a requirement is not written as the others are, or an ID is used twice.
    """
    found: dict[str, Requirement] = {}
    for section in re.split(r"^(?=### )", text(), flags=re.MULTILINE)[1:]:
        heading, terms, *law = (line.strip() for line in section.splitlines() if line.strip())
        head, term = _HEADING.fullmatch(heading), _TERMS.fullmatch(terms)
        if head is None or term is None:
            raise ValueError(f"not a requirement: {heading!r}, {terms!r}")
        law = [line for line in law if not line.startswith("## ")]
        requirement = Requirement(**head.groupdict(), **term.groupdict(), law=" ".join(law))
        if requirement.id in found:
            raise ValueError(f"the ID {requirement.id} is used twice")
        found[requirement.id] = requirement
    return found
