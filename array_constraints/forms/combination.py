"""The form of constraints that are made of others, and run by their calls."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from array_constraints import parameters
from array_constraints.constraint import Constraint
from array_constraints.executors import run
from array_constraints.executors.needs import (
    EVERYTHING,
    extent_of,
    is_alike_everywhere,
    needs_of,
)
from array_constraints.forms.form import Form, Needs
from array_constraints.forms.nesting import Nesting
from array_constraints.libraries import state
from array_constraints.typing import Array, Namespace, name_of

__all__ = [
    "EVERYTHING",
    "Combination",
    "by_entry",
    "extent_of",
    "needs_of",
    "numbered",
    "part_of",
    "write",
]


class Combination(Nesting):
    """A constraint made of others: what its members do, one after the other or side by side.

    It is run on *regions*: parts of a weight, left in their place, in which the slices of all
    members are whole. ``whole`` and ``groups`` say which parts of a weight are.
    """

    needs: ClassVar[Needs] = "regions"

    @abstractmethod
    def whole(self, ndim: int) -> tuple[int, ...]:
        """Return the dimensions, of ``ndim``, that a region has in full."""

    @abstractmethod
    def groups(self, ndim: int) -> tuple[int, ...]:
        """Return how many neighbours in each of ``ndim`` dimensions no region parts."""

    @abstractmethod
    def project(self, w: Array, xp: Namespace) -> Array:
        """Return the allowed region; ``w`` itself may be returned where nothing changes."""

    @abstractmethod
    def excess(self, w: Array, xp: Namespace) -> Array:
        """Return how far the region is from what is allowed."""

    def _project_in_place(self, w: Any, xp: Namespace) -> None:
        """Write the allowed region into ``w``, an array at hand."""
        for one in self.members():
            write(one, w)


def write(constraint: Constraint, w: Any) -> None:
    """Write what a member allows into an array at hand, or into a part of one."""
    run.called(constraint, w, False)


def by_entry(constraint: Constraint, w: Array, xp: Namespace) -> Array:
    """Return the violation of each entry: that of the slice, or the block, that it is in."""
    spread = getattr(constraint, "excess_by_entry", None)
    if spread is not None:
        found: Array = spread(w, xp)
        return found
    return xp.broadcast_to(constraint.violation(w), w.shape)


def part_of(
    constraint: Constraint, shape: tuple[int, ...], part: tuple[slice, ...]
) -> Constraint:
    """Return a member for a part of an array of that shape, in which its slices are whole."""
    if needs_of(constraint) == EVERYTHING or not isinstance(constraint, Form):
        return constraint
    return constraint.for_part(shape, extent_of(constraint, len(shape))[0], part)


def numbered(constraint: Constraint, at: int, ndim: int) -> Any:
    """Return a member for arrays in which dimension ``at``, one more, numbers those it is for.

    None where there is no such constraint: then it is called on each by itself.
    """
    own = getattr(constraint, "numbered", None)
    if own is not None:
        return own(at, ndim)
    if needs_of(constraint) in (EVERYTHING, "regions"):
        return None
    form: Any = constraint
    if form.needs == "entries" and is_alike_everywhere(form, ndim):
        return constraint
    if getattr(form, "_bounds_by_slice", dict[str, Any])():
        return None
    if not state.is_frozen_with(form, "axis") or isinstance(form.axis, str):
        return None
    return _along(form, at, ndim)


def _along(form: Any, at: int, ndim: int) -> Any:
    """Return a form whose axes are counted with a dimension more, an order among them kept."""
    axis = form.axis if isinstance(form.axis, tuple) else (form.axis,)
    if form.axis is None:
        axis = tuple(range(ndim))
    parameters.normalized_axes(name_of(type(form)), axis, ndim)
    counted = tuple([i % ndim + (i % ndim >= at) for i in axis])
    own = counted[0] if isinstance(form.axis, int) else counted
    return state.with_values(form, {"axis": own})
