"""The state of a form: a key that tells programs apart, and bounds, which are data."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Hashable
from dataclasses import dataclass, fields
from typing import Any

from array_constraints.typing import Bound


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A form without the values of its bounds: one program serves all that are equal."""

    form: Any
    key: Hashable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def with_bounds(self, bounds: dict[str, Any]) -> Any:
        """Return the form with other values in the fields of that name, not judged."""
        return with_values(self.form, bounds)


def structure_of(form: Any) -> tuple[Structure, dict[str, Any]] | None:
    """Return a form's structure and its bounds; None if the form may change.

    A form never changes if it is a frozen dataclass whose fields are plain values. Only such
    forms are compiled or remembered. Fields whose type is :data:`Bound` are data.
    """
    if form is None:
        return Structure(None, None), {}
    cls: Any = type(form)
    names = _fields_of(cls)
    if names is None or not _is_closed(form, names):
        return None
    bounds: dict[str, Any] = {}
    states: list[tuple[str, Hashable]] = []
    for name, is_data in names.items():
        value = getattr(form, name)
        if is_data and _is_bound(value):
            bounds[name] = value
            continue
        inner = structure_of(value) if _is_nested(value) else None
        if inner is not None:
            bounds |= {f"{name}.{field}": v for field, v in inner[1].items()}
        states.append((name, inner[0].key if inner is not None else state_of_value(value)))
    if None in [state for _, state in states]:
        return None
    return Structure(form, (type(form), *states)), bounds


def _is_nested(value: Any) -> bool:
    """Whether a field of a form holds another form, whose bounds are data of both."""
    cls: Any = type(value)
    return _fields_of(cls) is not None


def _is_bound(value: Any) -> bool:
    """Whether a value is a number, or a tuple of them: None may stand for no bound."""
    if isinstance(value, tuple):
        return all(map(_is_bound, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def state_of(form: Any) -> Hashable | None:
    """Return all that a form keeps, to tell it from any other; None if that may change."""
    cls: Any = type(form)
    names = _fields_of(cls)
    if names is None or not _is_closed(form, names):
        return None
    states = [state_of_value(getattr(form, name)) for name in names]
    return None if None in states else (type(form), *states)


def state_of_value(value: Any) -> Hashable | None:
    """Return a value and its type, as 1, True and 1.0 differ; None if it may change."""
    kind = type(value)
    if kind is tuple:
        states = [state_of_value(entry) for entry in value]
        return None if None in states else (kind, *states)
    if kind in (bool, int, float, complex, str, bytes, type(None)) or _is_scalar(value):
        return kind, repr(value)
    return (kind, value.name) if isinstance(value, enum.Enum) else state_of(value)


def _is_scalar(value: Any) -> bool:
    """Whether a value is a number that cannot change, such as a scalar of an array library."""
    from numbers import Number  # which nobody needs before

    return isinstance(value, Number) and not hasattr(value, "__dict__")


def with_values(form: Any, values: dict[str, Any]) -> Any:
    """Return a dataclass like ``form`` with other values in some fields, not judged.

    The field ``b`` of what the field ``a`` holds is named ``a.b``.
    """
    if not values:
        return form
    other = object.__new__(type(form))
    for field in fields(form):
        value, prefix = getattr(form, field.name), f"{field.name}."
        inner = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        own = with_values(value, inner) if inner else values.get(field.name, value)
        object.__setattr__(other, field.name, own)
    return other


def is_frozen_with(form: Any, name: str) -> bool:
    """Whether a form is a frozen dataclass with a field of that name.

    Nothing is remembered of its class: torch.compile looks through no such table.
    """
    known = getattr(type(form), "__dataclass_params__", None)
    return known is not None and known.frozen and name in type(form).__dataclass_fields__


def numbers_of(form: Any) -> dict[str, Any]:
    """Return the bounds of a dataclass that are several numbers, by field."""
    found = {}
    for name, field in getattr(form, "__dataclass_fields__", {}).items():
        value = getattr(form, name)
        one = isinstance(value, int | float | str | None)
        if one or not (field.type is Bound or "Bound" in str(field.type)):
            continue
        if isinstance(value, tuple) or getattr(value, "ndim", 0) == 1:
            found[name] = value
    return found


def data_of(form: Any) -> dict[str, Any]:
    """Return the fields of a form that are arrays: bounds that have no value yet."""
    found: dict[str, Any] = {}
    for name in getattr(form, "__dataclass_fields__", ()):
        value = getattr(form, name)
        if isinstance(value, int | float):
            continue
        if hasattr(value, "dtype"):
            found[name] = value
        elif hasattr(value, "__dataclass_fields__"):
            found |= {f"{name}.{field}": v for field, v in data_of(value).items()}
    return found


@functools.lru_cache(maxsize=1024)
def _fields_of(cls: Any) -> dict[str, bool] | None:
    """Return the fields of a frozen dataclass, and whether each is a bound; None for others."""
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not (parameters.frozen and parameters.eq):
        return None
    return {
        field.name: field.type is Bound
        or (isinstance(field.type, str) and bool(re.search(r"\bBound\b", field.type)))
        for field in fields(cls)
    }


def _is_closed(form: Any, names: dict[str, bool]) -> bool:
    """Whether a form keeps nothing but its fields, and what is computed of them once."""
    cls = type(form)
    slots = (vars(base).get("__slots__", ()) for base in cls.__mro__)
    kept = {name for some in slots for name in ((some,) if isinstance(some, str) else some)}
    kept |= getattr(form, "__dict__", {}).keys()
    cached = {
        name
        for name in kept
        if isinstance(getattr(cls, name, None), functools.cached_property)
        and state_of_value(getattr(form, name)) is not None
    }
    return not kept - cached - {*names, "__dict__", "__weakref__"}
