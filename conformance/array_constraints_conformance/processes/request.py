"""A request to judge, in plain data: a plan can be made of it in either process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from array_constraints_conformance.catalogue import CATALOGUE, Definition
from array_constraints_conformance.known_gaps import Gap
from array_constraints_conformance.libraries import DescribedLibrary, Description, Library
from array_constraints_conformance.runner.plan import Plan
from array_constraints_conformance.specification import Requirement
from array_constraints_conformance.trial.offers import Offer
from array_constraints_conformance.trial.profiles import PROFILES
from array_constraints_conformance.trial.subject import Subject


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
    constraints: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
) -> Subject:
    """Return a subject with the module's name, version and offers, without importing it.

    ``constraints`` are those that are judged, by name, with the requirements of their own.
    """
    told = None if offers is None else [Offer(**one) for one in offers]
    module = SimpleNamespace(__version__=version)
    if constraints is None:
        return Subject(request.constraints, module, told=told)
    known = {name: CATALOGUE.get(name) or _told(name, own) for name, own in constraints.items()}
    return Subject(request.constraints, module, known, told=told)


def _told(name: str, own: Sequence[Mapping[str, str]]) -> Definition:
    """Return the definition of a module, as far as it is known where nothing is judged."""
    laws = {Requirement(**one): _judged_elsewhere for one in own}
    return Definition(name, {}, (), _judged_elsewhere, requirements=laws)


def _judged_elsewhere(*_: Any) -> Any:
    raise RuntimeError("a module's own definitions are known in the process that imports it")


def libraries_of(request: Request, described: Sequence[Mapping[str, Any]]) -> list[Library]:
    """Return libraries that have nothing but their descriptions."""
    return [DescribedLibrary(Description(**one), request.device) for one in described]
