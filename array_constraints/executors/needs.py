"""The choice of an executor, by what a constraint needs to know at once."""

from __future__ import annotations

from typing import Any

from array_constraints import parameters
from array_constraints.typing import name_of

EVERYTHING = "everything"


def needs_of(constraint: Any) -> str:
    """Return ``needs`` of a form, or "everything" of what is called on whole weights.

    That is any callable, and a form whose class has a ``__call__`` of its own: what it does
    there is not what its mathematics says.
    """
    cls = type(constraint)
    own_call = cls.__call__ is not getattr(cls, "_call_of_forms", None)
    return EVERYTHING if own_call else str(constraint.needs)


def extent_of(constraint: Any, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return along which dimensions slices lie, and how many neighbours belong together.

    What is constrained at once has the former in full, and does not part the latter.
    """
    needs, alone = needs_of(constraint), (1,) * ndim
    if needs == "entries":
        return (), constraint.groups(ndim)
    if needs == "regions":
        return constraint.whole(ndim), constraint.groups(ndim)
    if needs == EVERYTHING:
        return tuple(range(ndim)), alone
    name = name_of(type(constraint))
    return parameters.normalized_axes(name, constraint.axis, ndim), alone


def is_alike_everywhere(form: Any, ndim: int) -> bool:
    """Whether an elementwise form treats entries alike, wherever in the array they are."""
    cls = type(form)
    return cls.for_part is cls._for_part_of_forms and max(form.groups(ndim), default=1) == 1
