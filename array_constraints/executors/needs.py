"""The choice of an executor, by what a constraint needs to know at once."""

from __future__ import annotations

from typing import Any

EVERYTHING = "everything"


def needs_of(constraint: Any) -> str:
    """Return ``needs`` of a form, or "everything" of what is called on whole weights.

    That is any callable, and a form whose class has a ``__call__`` of its own: what it does
    there is not what its mathematics says.
    """
    cls = type(constraint)
    own_call = cls.__call__ is not getattr(cls, "_call_of_forms", None)
    return EVERYTHING if own_call else str(constraint.needs)


def is_alike_everywhere(form: Any, ndim: int) -> bool:
    """Whether an elementwise form treats entries alike, wherever in the array they are."""
    cls = type(form)
    return cls.for_part is cls._for_part_of_forms and max(form.groups(ndim), default=1) == 1
