"""The forms that hold other constraints: as fields of theirs, and in configs."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from array_constraints import parameters
from array_constraints.constraint import Constraint
from array_constraints.forms.form import Form


class Codec(NamedTuple):
    """The way from what names a constraint to the constraint, and to its config."""

    get: Callable[[Any], Any]
    serialize: Callable[[Any], Any]


_CODECS: list[Codec] = []


def use(codec: Codec) -> None:
    """Let constraints be named, and written, as the registry of classes has it."""
    _CODECS[:] = [codec]


def member(owner: str, name: str, given: Any) -> Constraint:
    """Return the constraint that is given itself, or by what ``get`` takes: name or config.

    Raises
    ------
    TypeError
        If it is no constraint of this library, and no subclass of :class:`Constraint`.
    """
    named = isinstance(given, str | Mapping | type)
    found = _CODECS[0].get(given) if named else given
    if not isinstance(found, Constraint):
        raise TypeError(
            f"{owner}: {name} must be a Constraint, its name or its config, got {shown(given)}"
        )
    return found


def shown(value: Any) -> str:
    """Return a value as an error shows it: an array by its type alone."""
    return f"a {type(value).__name__}" if hasattr(value, "shape") else reprlib.repr(value)


class Nesting(Form):
    """A form with other constraints among its fields, alone or several in a tuple."""

    def members(self) -> Iterator[Constraint]:
        """Yield the constraints that it holds, in their order."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            yield from (x for x in _as_tuple(value) if isinstance(x, Constraint))

    def with_members(self, function: Callable[[Constraint], Constraint]) -> Self:
        """Return this form with what a function makes of each member; itself if nothing new."""
        values = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            made = tuple(
                [function(x) if isinstance(x, Constraint) else x for x in _as_tuple(value)]
            )
            if any(a is not b for a, b in zip(made, _as_tuple(value), strict=True)):
                values[field.name] = made if isinstance(value, tuple) else made[0]
        made_anew: Any = dataclasses.replace
        return made_anew(self, **values) if values else self

    def validate(self, w: Any) -> None:
        for one in self.members():
            if isinstance(one, Form):
                one.validate(w)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {
            field.name: _written(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        }


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _written(value: Any) -> Any:
    if isinstance(value, Constraint):
        return _CODECS[0].serialize(value)
    if isinstance(value, tuple):
        return [_written(entry) for entry in value]
    return parameters.to_json(value)
