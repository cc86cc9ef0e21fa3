"""A weight that a rule selects, and the constraint that it gets, its axis resolved."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from array_constraints import libraries
from array_constraints.executors import acceptance, run
from array_constraints.forms import Form
from array_constraints.layers import Weight, resolved
from array_constraints.parameters import normalized_axes
from array_constraints.typing import name_of


@contextlib.contextmanager
def _named(weight: Weight) -> Iterator[None]:
    """Put the name of a weight before what is raised within."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{weight.name!r}: {error}") from None


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A weight, its constraint, and the number of the rule that selects it."""

    weight: Weight
    constraint: Any
    rule: int
    stated: Any = None
    """The constraint as its rule states it."""

    @classmethod
    def of(cls, weight: Weight, constraint: Any, rule: int) -> Selection:
        """Return the selection with the axis of the constraint resolved.

        Raises
        ------
        TypeError, ValueError
            If the weight cannot be constrained, or has no axis of incoming weights.
        """
        with _named(weight):
            if weight.refused:
                raise ValueError(weight.refused)
            return cls(weight, resolved(constraint, weight), rule, constraint)

    def judge(self, array: Any, copy: bool | None = None) -> None:
        """Raise what the constraint raises for an array, with the name of the weight."""
        if not isinstance(self.constraint, Form):
            return
        with _named(self.weight):
            acceptance.accepted_by(self.constraint, array, copy)

    def violation(self) -> Any:
        """Return how far each slice, or entry, of the weight is off.

        Of a callable that has no ``violation``: how far it moves each entry.
        """
        array = self.weight.array
        if hasattr(self.constraint, "violation"):
            return self.constraint.violation(array)
        if type(array) in libraries.CONTENTS:
            image, array = self.constraint(array), libraries.CONTENTS[type(array)](array)
        else:  # a copy, for it may write
            image = self.constraint(libraries.of(array).copied(array))
        return run.distance(array, image, libraries.of(array))

    def require_axes(self) -> None:
        """Raise if the axis does not fit the shape, with the name of the weight."""
        with _named(self.weight):
            _ = self.axes

    @property
    def axes(self) -> tuple[int, ...] | None:
        """The dimensions that a slice runs along; None for a constraint without slices."""
        shape = self.weight.shape
        if shape is None or not hasattr(self.constraint, "axis"):
            return None
        if getattr(self.constraint, "needs", None) in ("entries", "regions"):
            return None  # along which groups lie, or blocks
        return normalized_axes(name_of(type(self.constraint)), self.constraint.axis, len(shape))

    @property
    def slices(self) -> int | None:
        """How many slices the weight has; None if they are not known."""
        axes, shape = self.axes, self.weight.shape
        if axes is None or shape is None:
            return None
        return math.prod([n for i, n in enumerate(shape) if i not in axes])

    @property
    def entries(self) -> int | None:
        """How many entries a slice has; None if that is not known."""
        axes, shape = self.axes, self.weight.shape
        return None if axes is None or shape is None else math.prod([shape[i] for i in axes])


_VECTORS = ("norm", "bias")
"""The kinds that have no incoming weights."""


def warn_of_axes(selections: Iterable[Selection], stacklevel: int = 3) -> None:
    """Warn once where an axis that is one number is most often not what is meant in a layer.

    ``stacklevel``: of the line that the warning names; 3 is that of the caller's caller.
    """
    found = [(s, said) for s in selections if (said := _said_of_axis(s))]
    if not found:
        return
    (selection, said), *more = sorted(found, key=lambda pair: _is_vector(pair[0]))
    vectors = 0 if _is_vector(selection) else sum(_is_vector(s) for s, _ in more)
    alike = len(more) - vectors
    others = f"; the same holds for {alike} more weight{'s'[alike == 1 :]}" if alike else ""
    each = "1 bias or gain is" if vectors == 1 else f"{vectors} biases or gains are each"
    others += f"; {each} one slice" if vectors else ""
    warnings.warn(
        f"{selection.weight.name!r}: {name_of(type(selection.constraint))} along axis "
        f"{selection.constraint.axis} {said}{others}. Write axis='incoming' for all weights "
        "into one unit, select by kind, or write the axis as a tuple where it is meant",
        stacklevel=stacklevel,
    )


def _is_vector(selection: Selection) -> bool:
    role = selection.weight.role
    return role is not None and role.kind in _VECTORS


def _said_of_axis(selection: Selection) -> str:
    """Return what is odd about the axis; nothing if it is not one number, or nothing is."""
    role, given = selection.weight.role, selection.stated
    if role is None or not isinstance(getattr(given, "axis", None), int):
        return ""
    if selection.axes is None:
        return ""
    if _is_vector(selection):
        return f"takes all of the {role.layer}'s {role.kind} as one slice"
    if isinstance(role.incoming, str) or selection.axes == role.incoming:
        return ""
    if not role.fits(len(selection.weight.shape or ())):  # stacked layers
        return ""
    axes = role.incoming[0] if len(role.incoming) == 1 else role.incoming
    return f"is not that of the weights into one unit of {role.layer}, which is {axes}"
