"""A weight that a rule selects, and the constraint that it gets, its axis resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from array_constraints.executors import acceptance
from array_constraints.forms import Form
from array_constraints.layers import Weight, resolved
from array_constraints.parameters import normalized_axes
from array_constraints.typing import name_of


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A weight, its constraint, and the number of the rule that selects it."""

    weight: Weight
    constraint: Any
    rule: int

    @classmethod
    def of(cls, weight: Weight, constraint: Any, rule: int) -> Selection:
        """Return the selection with the axis of the constraint resolved.

        Raises
        ------
        TypeError, ValueError
            If the weight cannot be constrained, or has no axis of incoming weights.
        """
        with_name = f"{weight.name!r}: "
        if weight.refused:
            raise ValueError(with_name + weight.refused)
        try:
            return cls(weight, resolved(constraint, weight), rule)
        except (TypeError, ValueError) as error:
            raise type(error)(with_name + str(error)) from None

    def judge(self, array: Any, copy: bool | None = None) -> None:
        """Raise what the constraint raises for an array, with the name of the weight."""
        if not isinstance(self.constraint, Form):
            return
        try:
            acceptance.accepted_by(self.constraint, array, copy)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.weight.name!r}: {error}") from None

    @property
    def axes(self) -> tuple[int, ...] | None:
        """The dimensions that a slice runs along; None for a constraint without an axis."""
        shape = self.weight.shape
        if shape is None or not hasattr(self.constraint, "axis"):
            return None
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
