"""The subject of a run: a module with constraints of Keras's names, or one constraint."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from types import SimpleNamespace
from typing import Any

from array_constraints_conformance.catalogue import (
    CATALOGUE,
    KERAS,
    Definition,
    MembershipRule,
    Rule,
)
from array_constraints_conformance.counterexample import NotProvided, message_of, stated
from array_constraints_conformance.trial.offers import Offer, claimed_by, found_in, looked_up


def definitions_of(names: Iterable[str]) -> dict[str, Definition]:
    """Return the definitions of the constraints that Keras has, and of these further sets."""
    wanted = {*KERAS, *names}
    return {name: known for name, known in CATALOGUE.items() if name in wanted}


class UnknownSubject(ValueError):
    """A module that cannot be imported, or has no constraint to judge."""


@dataclass(frozen=True)
class Subject:
    """The implementation under test.

    Attributes
    ----------
    name
        Its name in a report.
    module
        Where ``MaxNorm``, ``get`` and the like are looked up; ``None`` for a single constraint.
    definitions
        The constraints that are judged, with their parameters, by name: those of Keras, and
        the further sets that a module has, or defines itself.
    made
        A constraint that exists already, and is judged as it is.
    told
        What it offers, where that is known and not to be found out.
    in_code
        Whether it exists in the caller's code alone, and no command line could name it.
    given
        The definition that the caller gave of it, if any.
    """

    name: str
    module: Any = None
    definitions: Mapping[str, Definition] = field(default_factory=lambda: definitions_of(()))
    made: Any = None
    told: Sequence[Offer] | None = None
    in_code: bool = False
    given: Definition | None = None

    @property
    def version(self) -> str | None:
        package = self.name.partition(".")[0]
        own = looked_up(self.module, "__version__")
        if own is None:
            try:
                return metadata.version(package.replace("_", "-"))
            except metadata.PackageNotFoundError:
                own = looked_up(sys.modules.get(package), "__version__")
        return own if isinstance(own, str) else None

    @cached_property
    def offers(self) -> Sequence[Offer]:
        """What it offers, scope by scope."""
        if self.told is not None:
            return self.told
        claim = looked_up(self.module, "CONFORMANCE_SCOPES")
        if claim is not None:
            return claimed_by(claim)
        if self.member is not None:
            first, *others = found_in(None, [self.made])
            return [replace(first, reason=f"{first.reason}{self.member.left_out}"), *others]
        return found_in(
            self.module, (looked_up(self.module, name) for name in self.definitions)
        )

    @property
    def member(self) -> MembershipRule | None:
        """The rule of a constraint that is judged as it is, by a membership test."""
        if self.made is None:
            return None
        (rule,) = self.definitions[self.name].rules()
        return rule if isinstance(rule, MembershipRule) else None

    def function(self, name: str) -> Callable[..., Any]:
        """Return a function or class of the module, or raise :class:`NotProvided`."""
        found = looked_up(self.module, name)
        if found is None:
            raise stated(NotProvided(f"{self.name} has no {name}"))
        return found  # type: ignore[no-any-return]

    def provides(self, name: str) -> bool:
        return self.made is not None or looked_up(self.module, name) is not None

    def definition(self, name: str) -> Definition:
        """Return the definition of a constraint that is judged, or of one that is not there."""
        return self.definitions.get(name) or CATALOGUE[name]

    def takes(self, rule: Rule, definition: Definition) -> bool:
        """Whether the constraint has what a rule asks of it beyond the usual parameters."""
        asked = {name for name in definition.beyond if name in rule.arguments}
        return not asked or asked <= self.parameters(rule.name)

    def parameters(self, name: str) -> frozenset[str]:
        """Return the parameters of a constraint by name; none where they cannot be known."""
        try:
            return frozenset(inspect.signature(looked_up(self.module, name)).parameters)
        except (TypeError, ValueError):
            return frozenset()

    def make(self, rule: Rule) -> Any:
        """Return the constraint of a rule."""
        if self.made is not None:
            return self.made
        given = dict(rule.arguments)
        if "axis" in given:
            given["axis"] = rule.axis
        return self.function(rule.name)(**given)


def module_named(name: str, option: str = "--constraints") -> Subject:
    """Return the subject that is a module.

    Raises
    ------
    UnknownSubject
        If it cannot be imported, or has none of the constraints.
    """
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise UnknownSubject(
            f"{option} {name!r} cannot be imported: {message_of(error)}"
        ) from error
    return module_subject(module, name)


def module_subject(module: Any, name: str | None = None) -> Subject:
    """Return the subject that is this module, or any object with the constraints' names."""
    name = name or str(getattr(module, "__name__", type(module).__name__))
    has = [known for known in CATALOGUE if looked_up(module, known) is not None]
    own = _defined_by(module, name)
    if not has and not own:
        raise UnknownSubject(
            f"{name} has none of {', '.join(CATALOGUE)}; a function is judged in Python, by "
            "check_constraint(function, contains=...)"
        )
    definitions = {**(definitions_of(has) if has else {}), **own}
    return Subject(name, module, definitions, in_code=sys.modules.get(name) is not module)


def _defined_by(module: Any, name: str) -> dict[str, Definition]:
    """Return the definitions that a module has for constraints of its own, by name."""
    found: dict[str, Definition] = {}
    for definition in looked_up(module, "CONFORMANCE_DEFINITIONS") or ():
        if definition.name in CATALOGUE:
            raise UnknownSubject(f"{definition.name} is defined by the suite, not by {name}")
        made = looked_up(module, definition.name)
        if made is None:
            raise UnknownSubject(f"{name} defines {definition.name}, and has none")
        _refuse_misfit(definition, made)
        found[definition.name] = definition
    return found


def _refuse_misfit(definition: Definition, made: Callable[..., Any]) -> None:
    """Refuse a constraint that does not take the parameters of its definition."""
    try:
        taken = inspect.signature(made).parameters
    except (TypeError, ValueError):
        return  # it cannot be known: calls will show it
    for parameter in definition.defaults:
        if parameter not in taken:
            raise UnknownSubject(
                f"the definition of {definition.name} has a parameter {parameter!r}, which "
                f"{getattr(made, '__name__', made)} does not take"
            )


def single(
    constraint: Any,
    *,
    contains: Callable[[Any, float], bool] | None = None,
    axis: Any = None,
    convex: bool = False,
    idempotent: bool = True,
    definition: Definition | None = None,
) -> Subject:
    """Return the subject that is one constraint.

    With a membership test it is judged as it is; of a known name, or with a definition, its
    class is, with its parameters, along every axis.
    """
    name = constraint.__name__ if inspect.isfunction(constraint) else type(constraint).__name__
    if contains is not None:
        if definition is not None:
            raise UnknownSubject("contains= and definition= exclude each other")
        member = MembershipRule(name, {}, axis, contains, convex, idempotent)
        custom = Definition(name, {}, ({},), lambda name, given: member)
        return Subject(name, None, {name: custom}, made=constraint, in_code=True)
    if inspect.isclass(constraint):
        raise UnknownSubject(f"{constraint.__name__} is a class: pass an instance of it")
    known = definition or CATALOGUE.get(name)
    if known is None:
        names = ", ".join(CATALOGUE)
        raise UnknownSubject(f"{name} is none of {names}: pass contains=, its membership test")
    if definition is not None:
        _refuse_misfit(definition, type(constraint))
    try:
        given = constraint.get_config()
        config = {k: float(v) if v in ("inf", "-inf") else v for k, v in given.items()}
        known = replace(known, parameters=(config,), more=())
        for rule in known.rules():
            _ = rule.traits
    except Exception as error:
        raise UnknownSubject(
            f"get_config() does not give the parameters of {name} ({message_of(error)}): "
            "pass contains=, its membership test"
        ) from error
    module = SimpleNamespace(**{known.name: type(constraint)})
    return Subject(name, module, {known.name: known}, in_code=True, given=definition)
