"""A plan: the requirements, constraints and libraries of a run, as tasks in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice

from array_constraints_conformance.catalogue import CATALOGUE
from array_constraints_conformance.known_gaps import Gap
from array_constraints_conformance.libraries import Library, UnknownLibrary
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.specification import SCOPES, Requirement, requirements
from array_constraints_conformance.trial.offers import Offer
from array_constraints_conformance.trial.profiles import PROFILES, Profile
from array_constraints_conformance.trial.subject import Subject
from array_constraints_conformance.trial.trial import Trial

MODULE = "module"
ASKED, NOT_ASKED = "asked for", "not asked for"
Task = tuple[Requirement, str, Library]


class WrongPlan(ValueError):
    """A plan that has no tasks, or cannot be carried out."""


@dataclass(frozen=True)
class Choice:
    """Whether a scope is judged, and why."""

    scope: str
    judged: bool
    reason: str


@dataclass(frozen=True)
class Plan:
    """The constraints, libraries and requirements of a run, and how thorough it is.

    Where ``scopes`` is None, those of the requirements in ``only`` are judged, and where there
    are none, those that the subject offers.
    """

    subject: Subject
    libraries: Sequence[Library]
    profile: Profile = PROFILES["default"]
    seed: int = 0
    scopes: Sequence[str] | None = SCOPES
    only: Sequence[str] = ()
    constraints: Sequence[str] = ()
    gaps: Sequence[Gap] = field(default_factory=tuple)
    dtypes: Sequence[str] = ()
    gaps_named: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a plan without tasks: everything would seem to be met."""
        if self.seed < 0:
            raise WrongPlan(f"a seed is not negative, got {self.seed}")
        _refuse_unknown("requirement", self.only, [one.id for one in self.requirements])
        named = [*CATALOGUE, *self.subject.definitions, MODULE]
        _refuse_unknown("constraint", self.constraints, named)
        for library in self.libraries:
            if self.dtypes and not set(self.dtypes) & set(library.dtypes):
                raise UnknownLibrary(f"{library.name} has none of {', '.join(self.dtypes)}")
        if next(self.tasks(), None) is None:
            raise WrongPlan("nothing is left to judge, of these constraints and requirements")

    @property
    def requirements(self) -> list[Requirement]:
        """Those of the specification, and those that definitions add."""
        added = (
            own for known in self.subject.definitions.values() for own in known.requirements
        )
        return list(dict.fromkeys([*requirements().values(), *added]))

    def requirements_of(self, name: str) -> list[Requirement]:
        """Return the requirements of the specification, and a constraint's own."""
        known = self.subject.definitions.get(name)
        return [*requirements().values(), *(known.requirements if known else ())]

    @property
    def choices(self) -> list[Choice]:
        """The scopes, and whether each is judged."""
        asked = self.scopes
        if asked is None and self.only:
            asked = [one.scope for one in self.requirements if one.id in self.only]
        return [_choice(offer, asked) for offer in self.subject.offers]

    def trial(self, name: str, library: Library) -> Trial:
        """Return the trial of a constraint, or of the first one for the module as a whole."""
        known = next(iter(self.subject.definitions)) if name == MODULE else name
        chosen = [d for d in library.dtypes if not self.dtypes or d in self.dtypes]
        formats = [FORMATS[dtype] for dtype in chosen]
        return Trial(self.subject, known, library, self.profile, self.seed, formats)

    def trials(self, start: int = 0) -> Iterator[tuple[Task, Trial]]:
        """Yield every task from the given one on, with its trial."""
        trials: dict[tuple[str, str], Trial] = {}
        for task in islice(self.tasks(), start, None):
            _, name, library = task
            key = (name, library.name)
            if key not in trials:
                trials.clear()  # the observations of the last one are not needed again
                trials[key] = self.trial(name, library)
            yield task, trials[key]

    @property
    def judged(self) -> Sequence[str]:
        """The constraints that are judged, also such as are not there, and the module."""
        every = [*self.subject.definitions, MODULE]
        if not self.constraints:
            return every
        missing = [name for name in CATALOGUE if name not in every]
        return [name for name in [*every, *missing] if name in self.constraints]

    @property
    def constraints_shown(self) -> list[str]:
        """The constraints of the subject, and such as are asked for and not there."""
        own = list(self.subject.definitions)
        return [*own, *(name for name in self.judged if name not in (*own, MODULE))]

    def tasks(self) -> Iterator[Task]:
        """Yield every requirement for every constraint on every library of the plan."""
        scopes = [choice.scope for choice in self.choices if choice.judged]
        for library in self.libraries:
            for name in self.judged:
                for requirement in self.requirements_of(name):
                    wanted = not self.only or requirement.id in self.only
                    module_wide = requirement.constraints == MODULE
                    if (
                        requirement.scope in scopes
                        and wanted
                        and module_wide == (name == MODULE)
                    ):
                        yield requirement, name, library


def _refuse_unknown(kind: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known) + get_close_matches(name.upper(), known)
            hint = f": did you mean {near[0]}?" if near else ""
            raise WrongPlan(f"there is no {kind} {name!r}{hint} (--list shows them)")


def _choice(offer: Offer, asked: Sequence[str] | None) -> Choice:
    if asked is None or offer.settled:
        return Choice(offer.scope, offer.offered, offer.reason)
    if offer.scope in asked:
        return Choice(offer.scope, True, ASKED)
    return Choice(offer.scope, False, NOT_ASKED)
