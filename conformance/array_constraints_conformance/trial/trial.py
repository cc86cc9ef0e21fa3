"""A trial: the cases that one constraint is judged by on one library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from array_constraints_conformance.catalogue import (
    Definition,
    KnownRule,
    MembershipRule,
    Rule,
)
from array_constraints_conformance.libraries import Library
from array_constraints_conformance.numerics.formats import FORMATS, Format
from array_constraints_conformance.trial.calls import Calls
from array_constraints_conformance.trial.observation import Observation, Pool
from array_constraints_conformance.trial.profiles import PROFILES, Profile
from array_constraints_conformance.trial.subject import Subject
from array_constraints_conformance.weights.case import Case
from array_constraints_conformance.weights.decks import deck, sample
from array_constraints_conformance.weights.layouts import LAYOUTS, layouts_for, suit
from array_constraints_conformance.weights.neighbours import (
    BEYOND,
    IN_TURN,
    Neighbourhood,
    spheres,
    wide,
)

_LONG = 1000  # entries of the longest slices in a layout
_KEPT = 3000  # observations: the draws of one constraint, so that each call is made once


@dataclass
class Trial:
    """A constraint of a subject, on a library, with the cases of a profile and a seed."""

    subject: Subject
    constraint: str
    library: Library
    profile: Profile = PROFILES["default"]
    seed: int = 0
    formats: Sequence[Format] = ()
    _seen: dict[Any, Observation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.formats:
            self.formats = [FORMATS[name] for name in self.library.dtypes]

    @cached_property
    def calls(self) -> Calls:
        """The calls of the subject on the library, each constraint made once."""
        return Calls(self.subject, self.library)

    @property
    def definition(self) -> Definition:
        return self.subject.definition(self.constraint)

    @cached_property
    def rules(self) -> list[Rule]:
        found = self.definition.rules(self.profile.quick)
        return [rule for rule in found if self.subject.takes(rule, self.definition)]

    @property
    def rule(self) -> Rule:
        return self.rules[0]

    @property
    def known(self) -> KnownRule:
        """The first rule, of a constraint of the catalogue."""
        if not isinstance(self.rule, KnownRule):
            raise TypeError(f"{self.rule} is not in the catalogue")
        return self.rule

    @property
    def slow(self) -> bool:
        """Whether calls take so long that not every combination is judged."""
        return self.library.slow and self.profile.name != "thorough"

    @property
    def samples_a_third(self) -> bool:
        """Whether a quick run of slow calls judges only a third of layouts and formats."""
        return self.slow and self.profile.quick

    def half(self, items: Sequence[Any], turn: int) -> Sequence[Any]:
        """Return every other item, each turn the others, where only a sample is judged.

        Of one item, that: what is judged in one dtype alone is to be put to the test.
        """
        return items[turn % 2 :: 2] or items if self.samples_a_third else items

    def observe(self, case: Case) -> Observation:
        """Return the observation of a case; calls that were made for it are not repeated."""
        if len(self._seen) > _KEPT:
            self._seen.clear()
        if case.key not in self._seen:
            self._seen[case.key] = Observation(self.calls, case)
        return self._seen[case.key]

    @cached_property
    def cases(self) -> list[Case]:
        """The decks: a slice of every kind, in every layout and format."""
        found: list[Case] = []
        count = min(1 if self.slow else self.profile.rules_per_deck, len(self.rules))
        for turn in range(self.profile.rounds):
            for i, layout in enumerate(layouts_for(self.rules, self.profile.quick)):
                for j, fmt in enumerate(self.formats):
                    third, left = divmod(i + 2 * j, 3) if self.samples_a_third else (0, 0)
                    if left:
                        continue
                    rules = [r for r in self.rules if not r.judged_anywhere or suit(r, layout)]
                    for k in range(min(count, len(rules))):
                        rule = rules[(i + j + k + third) % len(rules)]
                        cases = deck(layout, rule, fmt, self.seed + 1000 * turn, self.slow)
                        found += [c for c in cases if rule.fits(fmt, c.slices.length)]
        return found

    @cached_property
    def samples(self) -> list[Case]:
        """One deck for each format and rule."""
        return [case for rule, fmt in self.pairs for case in self.sample(rule, fmt)]

    def sample(self, rule: Rule, fmt: Format) -> list[Case]:
        """Return a deck for a rule and a format."""
        return sample(rule, fmt, self.seed)

    @cached_property
    def long_cases(self) -> list[Case]:
        """A deck of slices of a thousand entries for each pair of a rule and a format."""
        pairs = [pair for pair in self.pairs if suit(pair[0], LAYOUTS[-1])]
        return [case for rule, fmt in pairs for case in deck(LAYOUTS[-1], rule, fmt, self.seed)]

    @cached_property
    def pairs(self) -> list[tuple[Rule, Format]]:
        """Every rule in every format; quickly, or where calls are slow, each at least once.

        Rules with bounds out of the range that the specification speaks of are left out.
        """
        return [(r, fmt) for r, fmt in self.paired(self.rules) if r.fits(fmt, _LONG)]

    def paired(self, rules: Sequence[Rule]) -> list[tuple[Rule, Format]]:
        """Return pairs of these rules and the formats, as many as the profile has time for."""
        if not self.profile.quick and not self.slow:
            return [(rule, fmt) for rule in rules for fmt in self.formats]
        turns = range(max(len(rules), len(self.formats)) if rules else 0)
        return [(rules[i % len(rules)], self.formats[i % len(self.formats)]) for i in turns]

    @cached_property
    def neighbourhoods(self) -> list[Neighbourhood]:
        """Large weights whose slices lie about their bound."""
        every = not (self.slow or self.profile.quick)
        formats = self.half(self.formats, len(self.constraint) + 1)
        rules = [rule for rule in self.rules if isinstance(rule, KnownRule)]
        return list(wide(self.definition, rules, formats, self.seed, every)) if rules else []

    @cached_property
    def close_cases(self) -> list[Case]:
        """Slices on their bound, beside others far out of range, and where roots are hard."""
        found = [hood.case(name) for hood in self.neighbourhoods for name in (BEYOND, IN_TURN)]
        count = 6 if self.slow else 24 if self.profile.quick else 60
        return [*found, *spheres(self.definition, self.formats, self.seed, count)]

    @cached_property
    def pools(self) -> list[Observation]:
        """Whole weights of one shape and format, seen as the slices of one, to be compared."""
        groups: dict[Any, list[Observation]] = {}
        for case in self.cases:
            if isinstance(case.rule, MembershipRule) and case.rule.axis is None:
                key = (case.w.shape, case.w.dtype.name)
                groups.setdefault(key, []).append(self.observe(case))
        return [Pool(group) for group in groups.values()]
