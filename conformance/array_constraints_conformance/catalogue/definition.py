"""The definition of a constraint: its signature, and the parameters it is judged with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from array_constraints_conformance.catalogue.rule import Rule
from array_constraints_conformance.specification import Requirement, requirements

Law: TypeAlias = Callable[[Any], int]


@dataclass(frozen=True)
class Definition:
    """The definition of a constraint: its signature, and the parameters it is judged with.

    Attributes
    ----------
    name
        That of the class.
    defaults
        Its parameters, in their order, with their defaults.
    parameters
        The arguments that it is judged with; the first ones stand for all.
    more
        Further ones, which the quick profile leaves out.
    rule
        A function of the name and all arguments that returns the rule: the slices allowed.
    required
        Parameters that have no default; ``defaults`` holds what they are judged with.
    beyond
        Parameters that it may have beside those, with their defaults; arguments that name one
        are judged where it is there.
    requirements
        Requirements of its own, beside those of the specification, each with its law: a
        function of an ``Observation`` that fails it, or returns how often the law applied.
    """

    name: str
    defaults: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]
    rule: Callable[[str, Mapping[str, Any]], Rule]
    more: tuple[Mapping[str, Any], ...] = ()
    required: tuple[str, ...] = ()
    beyond: Mapping[str, Any] = field(default_factory=dict)
    requirements: Mapping[Requirement, Law] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a requirement of its own that has an ID of the specification."""
        for own in self.requirements:
            if own.id in requirements():
                raise ValueError(f"{self.name}: {own.id} is a requirement of the specification")

    def rules(self, quick: bool = False) -> list[Rule]:
        """Return the rules that it is judged by: without ``more`` in the quick profile."""
        chosen = self.parameters if quick else self.parameters + self.more
        return [self.with_arguments(given) for given in chosen]

    def with_arguments(self, given: Mapping[str, Any]) -> Rule:
        return self.rule(self.name, {**self.defaults, **given})
