"""A request to judge, in plain data: a plan can be made of it in either process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from array_constraints_conformance.known_gaps import Gap
from array_constraints_conformance.libraries import DescribedLibrary, Description, Library
from array_constraints_conformance.runner.plan import Plan
from array_constraints_conformance.trial.offers import Offer
from array_constraints_conformance.trial.profiles import PROFILES
from array_constraints_conformance.trial.subject import Subject, definitions_of


@dataclass(frozen=True)
class Request:
    """The arguments of the command line, as lists, strings and numbers alone."""

    constraints: str
    libraries: Sequence[str]
    profile: str = "default"
    seed: int = 0
    scopes: Sequence[str] | None = None
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
        environment: Mapping[str, str] | None = None,
    ) -> Plan:
        """Return the plan for the module and the libraries that are named."""
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
            environment or {},
        )


def subject_of(
    request: Request,
    version: str | None = None,
    offers: Sequence[Mapping[str, Any]] | None = None,
    names: Sequence[str] = (),
) -> Subject:
    """Return a subject with the module's name, version and offers, without importing it.

    ``names`` are those of its constraints.
    """
    told = None if offers is None else [Offer(**one) for one in offers]
    module = SimpleNamespace(__version__=version)
    return Subject(request.constraints, module, definitions_of(names), told=told)


def libraries_of(request: Request, described: Sequence[Mapping[str, Any]]) -> list[Library]:
    """Return libraries that have nothing but their descriptions."""
    return [DescribedLibrary(Description(**one), request.device) for one in described]
