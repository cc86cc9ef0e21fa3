"""Rules: an ordered list, in which the first rule that selects a weight decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, overload

from array_constraints.config import get
from array_constraints.layers import Weight, weights_of
from array_constraints.rules.applying import applied
from array_constraints.rules.explanation import Explanation
from array_constraints.rules.rule import Rule, meant_by
from array_constraints.rules.selection import Selection
from array_constraints.typing import Map

V = TypeVar("V")
ValueOf = TypeVar("ValueOf", covariant=True)


class _Named(Protocol[ValueOf]):
    """What holds arrays by their names, as a dictionary does."""

    def items(self) -> Iterable[tuple[str, ValueOf]]: ...


ConstraintLike: TypeAlias = Map | str | Mapping[str, Any] | None
"""What names a constraint: see :func:`array_constraints.get`."""


@dataclass(frozen=True)
class Rules:
    """An ordered list of rules; the first that selects a weight decides.

    Parameters
    ----------
    rules
        Each a :class:`Rule`, or a pair of a pattern and a constraint.

    Raises
    ------
    TypeError
        If one is neither.
    ValueError
        If there is none.

    Examples
    --------
    >>> from array_constraints import MaxNorm, NonNeg
    >>> from array_constraints.rules import Rule, Rules
    >>> rules = Rules([Rule("*.bias", None), Rule("head.*", NonNeg()), Rule("*", MaxNorm(2.0))])
    >>> rules.match(["body.weight", "body.bias", "head.weight"])
    {'body.weight': MaxNorm(max_value=2.0, axis=0), 'head.weight': NonNeg()}
    """

    rules: tuple[Rule, ...]

    def __init__(self, rules: Iterable[Rule | tuple[str, ConstraintLike]]) -> None:
        object.__setattr__(self, "rules", tuple(map(_rule, rules)))
        if not self.rules:
            raise ValueError("rules must hold at least one rule")

    def match(self, weights: Any, layout: str | None = None) -> dict[str, Map]:
        """Return the constraint of each weight that has one, by name, in the order of weights.

        Parameters
        ----------
        weights
            A model, named arrays, or names alone; see :meth:`apply`.
        layout
            See :meth:`apply`.

        Raises
        ------
        LookupError
            If no weight is left for a rule that is required: it would never act, which is most
            often a mistake.
        ValueError
            If a rule asks what is not known of a weight, or ``axis="incoming"`` has no answer.
        """
        return {s.weight.name: s.constraint for s in self.select(weights_of(weights, layout))}

    def select(
        self, weights: Iterable[Weight], *, all_must_act: bool = True
    ) -> list[Selection]:
        """Return the weights that have a constraint, with it and the rule that says so.

        Raises
        ------
        LookupError, ValueError
            As :meth:`match`.
        """
        weights = list(weights)
        first = self.acting_on(weights) if all_must_act else list(map(self.first, weights))
        return [
            Selection.of(weight, rule.constraint, number)
            for weight, (number, rule) in zip(weights, first, strict=True)
            if rule is not None and rule.constraint is not None
        ]

    def acting_on(self, weights: list[Weight]) -> list[tuple[int, Rule | None]]:
        """Return the first rule for each weight, and its place.

        Raises
        ------
        LookupError
            As :meth:`match`.
        """
        first = [self.first(weight) for weight in weights]
        self._require_all_to_act(weights, first)
        return first

    def first(self, weight: Weight) -> tuple[int, Rule | None]:
        """Return the first rule that selects a weight, and its place in the list."""
        for number, rule in enumerate(self.rules):
            if rule.matches(weight):
                return number, rule
        return len(self.rules), None

    @overload
    def apply(
        self, weights: _Named[V], *, layout: str | None = ..., copy: bool | None = ...
    ) -> dict[str, V]: ...
    @overload
    def apply(
        self,
        weights: Iterable[tuple[str, V]],
        *,
        layout: str | None = ...,
        copy: bool | None = ...,
    ) -> list[tuple[str, V]]: ...
    def apply(
        self, weights: Any, *, layout: str | None = None, copy: bool | None = None
    ) -> Any:
        """Return named weights with the constraint of its rule applied to each.

        Parameters
        ----------
        weights
            Arrays by name: a mapping, nested as you like, or pairs of a name and an array, such
            as ``module.named_parameters()``. The names of nested ones are joined by dots.
        layout
            ``"torch"`` or ``"keras"``: as what name and shape are taken to resolve
            ``axis="incoming"``; an error where two types of layers fit.
        copy
            As for :func:`array_constraints.apply`.

        Returns
        -------
        dict or list
            Mappings come back as dictionaries, pairs as a list of them, arrays that no rule
            selects as they are.

        Raises
        ------
        LookupError
            If a required rule never acts.
        TypeError, ValueError
            What the constraint raises, with the name of the weight; before anything is written.

        Examples
        --------
        >>> import numpy as np
        >>> from array_constraints import NonNeg
        >>> from array_constraints.rules import as_rules
        >>> rules = as_rules([("*.bias", NonNeg())])
        >>> rules.apply({"head": {"kernel": np.asarray([-2.0]), "bias": np.asarray([-3.0])}})
        {'head': {'kernel': array([-2.]), 'bias': array([0.])}}
        """
        return applied(self, weights, layout, copy)

    def explain(self, weights: Any, layout: str | None = None) -> Explanation:
        """Return a table of all weights: which rule selects each, and what it does there.

        Parameters
        ----------
        weights
            A model of PyTorch, Keras, Flax NNX or Equinox, or named arrays.
        layout
            See :meth:`apply`.

        Returns
        -------
        Explanation
            One row for each weight, what no rule selects included; it prints as a table, and
            as HTML in a notebook.

        Raises
        ------
        LookupError, TypeError, ValueError
            As :meth:`apply`.
        """
        found = weights_of(weights, layout)
        return Explanation(tuple(found), tuple(self.select(found)))

    def _require_all_to_act(
        self, weights: list[Weight], first: list[tuple[int, Rule | None]]
    ) -> None:
        acting = {number for number, _ in first}
        for number, rule in enumerate(self.rules):
            if number in acting or not rule.required:
                continue
            taken = [
                (w, by) for w, (_, by) in zip(weights, first, strict=True) if rule.matches(w)
            ]
            if not any(by is not None and by.constraint == rule.constraint for _, by in taken):
                raise LookupError(_unused(rule, [w.name for w, _ in taken], weights))


RulesLike: TypeAlias = (
    Rules
    | Rule
    | ConstraintLike
    | Mapping[str, ConstraintLike]
    | Iterable[Rule | tuple[str, ConstraintLike]]
)
"""What is taken for rules: a constraint for all weights, or pairs of pattern and constraint."""


def as_rules(rules: RulesLike) -> Rules:
    """Return rules from a constraint for all weights, or pairs of pattern and constraint.

    Examples
    --------
    >>> as_rules([("*.weight", "unit_norm")]).rules[0].constraint
    UnitNorm(axis=0)
    """
    if isinstance(rules, Rules):
        return rules
    if isinstance(rules, Rule):
        return Rules([rules])
    found: Any = rules
    if isinstance(rules, Mapping) and "class_name" not in rules:
        found = rules.items()
    if isinstance(found, Iterable) and not isinstance(found, str | Mapping):
        return Rules(found)
    return Rules([Rule("*", get(found))])


def _rule(entry: Any) -> Rule:
    if isinstance(entry, Rule):
        return entry
    if not (isinstance(entry, tuple | list) and len(entry) == 2):
        raise TypeError(
            "rules are a list of Rule, or of pairs of a pattern and a constraint, got "
            f"{type(entry).__name__} in it"
        )
    select, constraint = entry
    return Rule(select, get(constraint))


def _unused(rule: Rule, taken: list[str], weights: list[Weight]) -> str:
    if taken:
        return (
            f"the rule {rule.shown} never acts: earlier rules take "
            f"{'the only weight' if len(taken) == 1 else f'all {len(taken)} weights'} that it "
            f"matches, {taken[0]!r} first; put it before them"
        )
    names = [repr(weight.name) for weight in weights[:5]]
    if rule.kind is not None:
        names = [f"{name} ({w.kind})" for name, w in zip(names, weights, strict=False)]
    shown = ", ".join(names) + (", ..." if len(weights) > 5 else "")
    meant = meant_by(rule.select, [name for weight in weights for name, _ in weight.places])
    one = "does not match the only weight"
    no = one if len(weights) == 1 else f"matches none of the {len(weights)} weights"
    return f"the rule {rule.shown} {no}: {shown}{meant}"
