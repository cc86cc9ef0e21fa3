"""One constraint on one library: its calls, each made once, and what the laws see of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import MembershipRule, Rule
from array_constraints_conformance.counterexample import NotProvided, attempt, stated
from array_constraints_conformance.libraries import Library
from array_constraints_conformance.numerics.formats import FORMATS, Format
from array_constraints_conformance.trial.observation import Observation, Pool
from array_constraints_conformance.trial.subject import Subject
from array_constraints_conformance.weights import decks as strategies
from array_constraints_conformance.weights.decks import Case
from array_constraints_conformance.weights.neighbours import (
    BEYOND,
    IN_TURN,
    Neighbourhood,
    spheres,
    wide,
)

_LONG = 1000  # entries of the longest slices in a layout
_KEPT = 3000  # observations: the draws of one constraint, so that each call is made once


@dataclass(frozen=True)
class Profile:
    """How thoroughly to look."""

    name: str
    examples: int
    rounds: int
    rules_per_cell: int
    repetitions: int
    log_length: int
    timeout: float  # seconds for one requirement of one constraint: many times what it takes

    @property
    def quick(self) -> bool:
        return self.name == "quick"


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quick", 12, 1, 1, 100, 16, 20),
        Profile("default", 40, 1, 2, 1000, 16, 300),
        Profile("thorough", 500, 10, 99, 1000, 20, 3600),
    )
}


@dataclass
class Trial:
    """A constraint of a subject, on a library, with a profile and a seed."""

    subject: Subject
    constraint: str
    library: Library
    profile: Profile = PROFILES["default"]
    seed: int = 0
    formats: Sequence[Format] = ()
    _made: dict[str, Any] = field(default_factory=dict)
    _seen: dict[Any, Observation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.formats:
            self.formats = [FORMATS[name] for name in self.library.dtypes]

    @cached_property
    def rules(self) -> list[Rule]:
        return self.subject.entries[self.constraint].rules(self.profile.quick)

    @property
    def lazy(self) -> bool:
        return "lazy" in self.library.traits

    @property
    def dear(self) -> bool:
        """Whether calls take so long that not every combination is judged."""
        return self.library.slow and self.profile.name != "thorough"

    @property
    def sparse(self) -> bool:
        """Whether cases take turns besides."""
        return self.dear and self.profile.quick

    def share(self, items: Sequence[Any], turn: int) -> Sequence[Any]:
        """Return the items, or half of them, each turn the other, where cases take turns."""
        return items[turn % 2 :: 2] if self.sparse else items

    @property
    def rule(self) -> Rule:
        return self.rules[0]

    def constraint_of(self, rule: Rule) -> Any:
        """Return the constraint of a rule, made once."""
        if rule.key not in self._made:
            self._made[rule.key] = attempt(str(rule), self.subject.make, rule)
        return self._made[rule.key]

    def map_of(self, rule: Rule) -> Callable[[Any], Any]:
        """Return the constraint as this mode of the library runs it."""
        key = f"map of {rule.key}"
        if key not in self._made:
            self._made[key] = self.library.wrap(self.constraint_of(rule))
        return self._made[key]  # type: ignore[no-any-return]

    def violation_of(self, rule: Rule) -> Callable[[Any], Any]:
        """Return the constraint's violation as this mode of the library runs it."""
        key = f"violation of {rule.key}"
        if key not in self._made:
            self._made[key] = self.library.wrap(self.method(rule, "violation"))
        return self._made[key]  # type: ignore[no-any-return]

    def method(self, rule: Rule, name: str) -> Callable[..., Any]:
        """Return a method of the constraint, or raise :class:`NotProvided`."""
        found = getattr(self.constraint_of(rule), name, None)
        if found is None:
            raise stated(NotProvided(f"{rule.name} has no {name}"))
        return found  # type: ignore[no-any-return]

    def accepts(self, rule: Rule, argument: str) -> None:
        """Raise :class:`NotProvided` unless a call takes the argument."""
        try:
            taken = inspect.signature(self.constraint_of(rule)).parameters
        except (TypeError, ValueError):
            taken = {}  # type: ignore[assignment]
        if argument not in taken:
            raise stated(NotProvided(f"{rule.name} takes no {argument}="))

    def call(self, rule: Rule, x: Any, **options: Any) -> Any:
        """Call the constraint on an array of the library."""
        run = self.constraint_of(rule) if options else self.map_of(rule)
        return attempt(str(rule), partial(run, **options), x, w=lambda: self.numpy(x))

    def image(self, rule: Rule, w: np.ndarray, **options: Any) -> np.ndarray:
        """Return what the constraint makes of ``w``."""
        return self.result(Case(w, rule), self.call(rule, self.library.array(w), **options))

    def result(self, case: Case, x: Any) -> np.ndarray:
        """Return the bits of what a call made of a case."""
        return attempt(str(case.rule), self.library.numpy, x, w=case.w)

    def numpy(self, x: Any) -> Any:
        return self.library.numpy(x) if self.library.is_own(x) else repr(x)[:200]

    def observe(self, case: Case) -> Observation:
        """Return what is seen of a case; calls that were made for it are not repeated."""
        if len(self._seen) > _KEPT:
            self._seen.clear()
        if case.key not in self._seen:
            self._seen[case.key] = Observation(self, case)
        return self._seen[case.key]

    @cached_property
    def samples(self) -> list[Case]:
        """One deck for each dtype and rule."""
        layouts = strategies.layouts_for(self.rule, True)
        return self.decks(layouts[min(1, len(layouts) - 1)])

    def decks(self, layout: strategies.Layout) -> list[Case]:
        """Return a deck in a layout for each pair of rule and dtype."""
        return [
            case
            for rule, form in self.pairs
            for case in strategies.deck(layout, rule, form, self.seed)
        ]

    @cached_property
    def pairs(self) -> list[tuple[Rule, Format]]:
        """Every rule in every dtype; quickly, or where calls are dear, each at least once.

        Rules with bounds out of the range that the specification speaks of are left out.
        """
        return [(r, form) for r, form in self.paired(self.rules) if r.fits(form, _LONG)]

    def paired(self, rules: Sequence[Rule]) -> list[tuple[Rule, Format]]:
        if not self.profile.quick and not self.dear:
            return [(rule, form) for rule in rules for form in self.formats]
        turns = range(max(len(rules), len(self.formats)) if rules else 0)
        return [(rules[i % len(rules)], self.formats[i % len(self.formats)]) for i in turns]

    @cached_property
    def neighbourhoods(self) -> list[Neighbourhood]:
        """Large weights whose slices lie about their bound."""
        entry = self.subject.entries[self.constraint]
        every = not (self.dear or self.profile.quick)
        formats = self.share(self.formats, len(self.constraint) + 1)
        return list(wide(entry, self.rules, formats, self.seed, every))

    @cached_property
    def close_cases(self) -> list[Case]:
        """Slices on their bound, beside what is far out of range, and where roots are hard."""
        found = [hood.case(name) for hood in self.neighbourhoods for name in (BEYOND, IN_TURN)]
        count = 6 if self.dear else 24 if self.profile.quick else 60
        entry = self.subject.entries[self.constraint]
        return [*found, *spheres(entry, self.formats, self.seed, count)]

    @cached_property
    def pools(self) -> list[Observation]:
        """Whole weights of one shape and dtype, seen as the slices of one, to be compared."""
        groups: dict[Any, list[Observation]] = {}
        for case in self.cases:
            if isinstance(case.rule, MembershipRule) and case.rule.axis is None:
                key = (case.w.shape, case.w.dtype.name)
                groups.setdefault(key, []).append(self.observe(case))
        return [Pool(group) for group in groups.values()]

    @cached_property
    def cases(self) -> list[Case]:
        """The decks: a slice of every kind, in every layout and dtype."""
        found: list[Case] = []
        count = min(1 if self.dear else self.profile.rules_per_cell, len(self.rules))
        for turn in range(self.profile.rounds):
            for i, layout in enumerate(strategies.layouts_for(self.rule, self.profile.quick)):
                for j, form in enumerate(self.formats):
                    if self.sparse and (i + 2 * j) % 3:
                        continue
                    for k in range(count):
                        rule = self.rules[(i + j + k) % len(self.rules)]
                        seed = self.seed + 1000 * turn
                        cases = strategies.deck(layout, rule, form, seed, self.dear)
                        found += [c for c in cases if rule.fits(form, c.slices.length)]
        return found
