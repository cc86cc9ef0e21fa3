"""Calls of a subject's constraints on one array library; an error there is a finding."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import Rule
from array_constraints_conformance.counterexample import NotProvided, attempt, stated
from array_constraints_conformance.libraries import Library
from array_constraints_conformance.trial.subject import Subject
from array_constraints_conformance.weights.case import Case

Map = Callable[[Any], Any]


class Calls:
    """The constraints of a subject, each made once, and the ways to call them on a library."""

    def __init__(self, subject: Subject, library: Library) -> None:
        self.subject, self.library = subject, library
        self._constraints: dict[str, Any] = {}  # each by the key of its rule
        self._maps: dict[str, Map] = {}
        self._violations: dict[str, Map] = {}

    @property
    def lazy(self) -> bool:
        return "lazy" in self.library.traits

    def constraint_of(self, rule: Rule) -> Any:
        """Return the constraint of a rule, made once."""
        if rule.key not in self._constraints:
            self._constraints[rule.key] = attempt(str(rule), self.subject.make, rule)
        return self._constraints[rule.key]

    def map_of(self, rule: Rule) -> Map:
        """Return the constraint as this mode of the library runs it."""
        if rule.key not in self._maps:
            self._maps[rule.key] = self.library.wrap(self.constraint_of(rule))
        return self._maps[rule.key]

    def violation_of(self, rule: Rule) -> Map:
        """Return the constraint's violation as this mode of the library runs it."""
        if rule.key not in self._violations:
            self._violations[rule.key] = self.library.wrap(self.method(rule, "violation"))
        return self._violations[rule.key]

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
        """Call the constraint on an array of the library; with options, as it is written."""
        run = self.constraint_of(rule) if options else self.map_of(rule)
        return attempt(str(rule), partial(run, **options), x, w=lambda: self.numpy(x))

    def image(self, rule: Rule, w: np.ndarray, **options: Any) -> np.ndarray:
        """Return the result of the constraint for a NumPy array, as one."""
        return self.result(Case(w, rule), self.call(rule, self.library.array(w), **options))

    def result(self, case: Case, x: Any) -> np.ndarray:
        """Return the bits of an array that a call for this case returned."""
        return attempt(str(case.rule), self.library.numpy, x, w=case.w)

    def numpy(self, x: Any) -> Any:
        """Return an array of the library as one of NumPy, anything else as text to show."""
        return self.library.numpy(x) if self.library.is_own(x) else repr(x)[:200]
