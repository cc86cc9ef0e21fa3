"""What a process is told to judge, in words: all that a plan can be made of there and here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from array_constraints_conformance.known_gaps import Gap
from array_constraints_conformance.libraries import Description, Elsewhere, Library
from array_constraints_conformance.runner.plan import Plan
from array_constraints_conformance.specification import SCOPES
from array_constraints_conformance.trial.profiles import PROFILES
from array_constraints_conformance.trial.subject import Subject


@dataclass(frozen=True)
class Order:
    """The words of the command line, in lists, strings and numbers alone."""

    constraints: str
    libraries: Sequence[str]
    profile: str = "default"
    seed: int = 0
    scopes: Sequence[str] = SCOPES
    only: Sequence[str] = ()
    names: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    device: str | None = None
    against: str | None = None

    def plan(
        self,
        subject: Subject,
        libraries: Sequence[Library],
        gaps: Sequence[Gap] = (),
        gaps_named: str | None = None,
    ) -> Plan:
        """Return the plan for the module and the libraries that these words name."""
        return Plan(
            subject,
            libraries,
            PROFILES[self.profile],
            self.seed,
            self.scopes,
            self.only,
            self.names,
            gaps,
            self.dtypes,
            gaps_named,
        )


def subject_of(
    order: Order, version: str | None = None, scopes: Sequence[str] | None = None
) -> Subject:
    """Return the module as it is known without importing it."""
    return Subject(order.constraints, SimpleNamespace(__version__=version), scopes=scopes)


def libraries_of(order: Order, described: Sequence[Mapping[str, Any]]) -> list[Library]:
    """Return the libraries as they are known by their descriptions."""
    return [Elsewhere(Description(**one), order.device) for one in described]
