"""A rule: which weights are selected, and their constraint."""

from __future__ import annotations

import fnmatch
import glob
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from array_constraints.config import get
from array_constraints.layers import KINDS, Weight
from array_constraints.typing import Map

T = TypeVar("T")
Several: TypeAlias = list[T] | tuple[T, ...]


@dataclass(frozen=True)
class Rule:
    """Which weights are selected, and their constraint.

    Parameters
    ----------
    select
        A pattern of names as a shell matches it: ``*`` stands for any characters, dots and
        slashes included, ``?`` for one, ``[ab]`` for one of those; upper and lower case differ.
    constraint
        A constraint, its name, any callable, or ``None``: what is selected is left alone.
    ndim
        How many dimensions a weight has, a number or several; ``None`` for any.
    kind
        The kind of its layer, or several: ``"dense"``, ``"conv"``, ``"embedding"``,
        ``"recurrent"``, ``"attention"``, ``"norm"``, ``"bias"`` or ``"other"``; ``None`` for
        any. Only a model tells it.
    exclude
        A pattern, or several, of names that are not selected.
    required
        Whether it is an error if the rule never acts.
    min_size
        How many entries a weight has at least.

    Examples
    --------
    >>> from array_constraints import MaxNorm
    >>> from array_constraints.rules import Rule
    >>> rule = Rule("layers.*", MaxNorm(2.0, axis=1), exclude="*.bias")
    >>> rule.matches("layers.0.weight"), rule.matches("layers.0.bias")
    (True, False)
    """

    select: str
    constraint: Map | None
    ndim: tuple[int, ...] | None = None
    kind: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    required: bool = True
    min_size: int = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            select: str,
            constraint: Map | str | None,
            ndim: int | Several[int] | None = None,
            kind: str | Several[str] | None = None,
            exclude: str | Several[str] = (),
            required: bool = True,
            min_size: int = 0,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.select, str):
            raise TypeError(f"select must be a pattern, got {type(self.select).__name__}")
        if isinstance(self.constraint, str | type):
            object.__setattr__(self, "constraint", get(self.constraint))
        if self.constraint is not None and not callable(self.constraint):
            raise TypeError(
                f"the constraint of {self.select!r} must be callable or None, "
                f"got {type(self.constraint).__name__}"
            )
        if not isinstance(self.required, bool):
            raise TypeError(f"required must be true or false, got {self.required!r}")
        if self.ndim is not None:
            object.__setattr__(self, "ndim", _several("ndim", self.ndim, int))
        if self.kind is not None:
            object.__setattr__(self, "kind", _several("kind", self.kind, str))
            unknown = [kind for kind in self.kind if kind not in KINDS]
            if unknown:
                raise ValueError(f"kind must be of {', '.join(KINDS)}, got {unknown[0]!r}")
        object.__setattr__(self, "exclude", _several("exclude", self.exclude, str))
        if type(self.min_size) is not int or self.min_size < 0:
            raise ValueError(f"min_size must be an int of at least 0, got {self.min_size!r}")

    def matches(self, weight: str | Weight) -> bool:
        """Whether the rule selects a weight, by any of its names.

        Raises
        ------
        ValueError
            If it asks for ``ndim``, ``min_size`` or ``kind``, and that is not known of the
            weight.
        """
        weight = Weight(weight) if isinstance(weight, str) else weight
        if any(p.match(name) for p in self._excluded for name, _ in weight.places):
            return False
        found = [role for name, role in weight.places if self._pattern.match(name)]
        if not found:
            return False
        if self.kind is not None:
            if any(role is None or role.kind is None for role in found):
                raise ValueError(
                    f"{weight.name!r}: the rule {self.shown} asks for its kind, which only a "
                    "layer knows: pass the model, or select by name"
                )
            if not any(role is not None and role.kind in self.kind for role in found):
                return False
        if self.ndim is None and not self.min_size:
            return True
        if weight.shape is None:
            asked = "min_size" if self.ndim is None else "ndim"
            raise ValueError(
                f"{weight.name!r}: the rule {self.shown} asks for {asked}, and the weight has "
                "no shape"
            )
        fits = self.ndim is None or len(weight.shape) in self.ndim
        return fits and math.prod(weight.shape) >= self.min_size

    @property
    def is_pattern(self) -> bool:
        """Whether its pattern has wildcards, so that it selects whatever has such a name."""
        return any(character in self.select for character in "*?[")

    @property
    def shown(self) -> str:
        """The rule as a message names it: its pattern, and what else it asks for."""
        asked = [("kind", self.kind), ("ndim", self.ndim), ("exclude", self.exclude)]
        more = [f"{name}={_one_or_all(values)!r}" for name, values in asked if values]
        more += [f"min_size={self.min_size}"] if self.min_size else []
        return f"{self.select!r} ({', '.join(more)})" if more else repr(self.select)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(fnmatch.translate(self.select))

    @cached_property
    def _excluded(self) -> list[re.Pattern[str]]:
        return [re.compile(fnmatch.translate(pattern)) for pattern in self.exclude]


OPTIONS = tuple(field.name for field in fields(Rule) if field.name != "constraint")
"""What a rule says beside its constraint."""


def meant_by(pattern: str, names: Collection[str]) -> str:
    """Return the end of a message about a pattern that matches no name: what may be meant.

    It is empty where the pattern matches one, or is like none.
    """
    import difflib  # only for a mistake

    bare = pattern.strip("*")
    if not bare or matches_any(pattern, names):
        return ""
    close = difflib.get_close_matches(pattern, names, 1, 0.8)
    wider = [f"*{pattern}", f"*{bare}*", f"*{bare.lower()}*"]
    parts = {part for name in names for part in re.split(r"[\W_]", name) if part}
    wider += [f"*{part}*" for part in difflib.get_close_matches(bare, sorted(parts), 1)]
    found = [*map(glob.escape, close), *(p for p in wider if matches_any(p, names))]
    return f"; did you mean {found[0]!r}?" if found else ""


def matches_any(pattern: str, names: Collection[str]) -> bool:
    """Whether a pattern matches one of several names."""
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _several(name: str, value: Any, cls: type) -> tuple[Any, ...]:
    """Return one value, or several, as a tuple."""
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    for entry in values:
        if not isinstance(entry, cls) or isinstance(entry, bool):
            kind = {int: "an int", str: "a text"}[cls]
            raise TypeError(f"{name} must be {kind} or several, got {entry!r}")
    return values


def _one_or_all(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else values
