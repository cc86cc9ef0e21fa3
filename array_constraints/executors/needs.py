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
