"""A named weight, its role in its layer, and the axis that this gives a constraint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from array_constraints.parameters import INCOMING
from array_constraints.typing import name_of

KINDS = ("dense", "conv", "embedding", "recurrent", "attention", "norm", "bias", "other")
"""What a weight can be: the kind of its layer, or a bias.

What a normalization learns is ``"norm"``, its bias too; of all other layers a bias is
``"bias"``. ``"other"`` is a weight of a layer that is not known, or of no such kind.
"""

MADE = (
    "the weight that the layer uses is made of it, by {}: a constraint of it would be none of "
    "that weight; exclude it, or remove what makes the weight"
)
"""Why a weight that another is made of is not constrained."""

OR_BY_KIND = ", or in a model by kind=('dense', 'conv')"
NO_UNITS = (
    "a bias, or the gain of a normalization, is one weight for each unit, so that there are no "
    f"incoming weights: leave it out, by exclude{OR_BY_KIND}; "
    "axis=None takes all of it as one slice"
)
"""Why biases and gains have no incoming axis."""


class UnknownAxisError(ValueError):
    """The incoming axis of a weight is not known: no layer tells it, or two of them fit."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a weight is in its layer.

    Parameters
    ----------
    layer
        The type of the layer, as it is printed: ``"Linear"``.
    kind
        One of ``KINDS``; ``None`` where it is not known.
    incoming
        The dimensions of all weights into one unit; or, as a text, why there are none.
    ndim
        How many dimensions the weight of one such layer has; ``None`` where that is not known.
    undecided
        Whether there are no incoming axes because two types of layers fit, or none is known.
    """

    layer: str
    kind: str | None
    incoming: tuple[int, ...] | str
    ndim: int | None = None
    undecided: bool = False

    def fits(self, ndim: int) -> bool:
        """Whether a weight of so many dimensions is that of one such layer."""
        if self.ndim is not None:
            return ndim == self.ndim
        return isinstance(self.incoming, str) or ndim > max(self.incoming, default=-1)

    @classmethod
    def without_units(cls, layer: str, kind: str) -> Role:
        """Return the role of a bias, or of what a normalization learns."""
        return cls(layer, kind, NO_UNITS)

    @classmethod
    def unknown(cls, layer: str) -> Role:
        """Return the role of a weight in a layer whose layout is not known."""
        why = f"the layout of {layer} is not known: write the axis of its units"
        return cls(layer, "other", why, undecided=True)


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A weight by its name, or names, where layers share it.

    Parameters
    ----------
    name
        As the user wrote it.
    array
        What has a shape and a dtype; ``None`` if only the name is known.
    role
        What it is in its layer; ``None`` if no layer is known.
    ties
        The other names under which it is the same weight, and its roles there.
    refused
        Why it cannot be constrained; nothing if it can.
    """

    name: str
    array: Any = field(default=None, repr=False)
    role: Role | None = None
    ties: tuple[tuple[str, Role | None], ...] = ()
    refused: str = ""

    @property
    def places(self) -> Iterator[tuple[str, Role | None]]:
        """Each name, with the role that it has there."""
        yield self.name, self.role
        yield from self.ties

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Its shape; None if that is not known, or not yet."""
        try:
            return tuple(self.array.shape)
        except (AttributeError, RuntimeError):  # no array, or a lazy parameter
            return None

    @property
    def kind(self) -> str | None:
        """What it is, under the first of its names."""
        return None if self.role is None else self.role.kind

    @property
    def incoming(self) -> tuple[int, ...]:
        """The dimensions of all weights into one unit.

        Raises
        ------
        UnknownAxisError
            If they are not known, or differ between layers that share it, or that it fits.
        ValueError
            If it has none.
        """
        found: dict[Any, Role] = {}
        for _, role in self.places:
            if role is None:
                raise UnknownAxisError(
                    "axis='incoming' is known from a layer, and this weight has none: pass the "
                    "model, or layout='torch' or layout='keras', or write the axis"
                )
            if isinstance(role.incoming, str):
                kind = UnknownAxisError if role.undecided else ValueError
                raise kind(f"axis='incoming': {role.incoming}")
            found.setdefault(role.incoming, role)
        if len(found) > 1:
            both = " and ".join(f"{r.layer} (axis {r.incoming})" for r in found.values())
            raise UnknownAxisError(
                f"axis='incoming': {both} share this weight, and their units differ: "
                "write the axis"
            )
        (axes,) = found
        if self.shape is None or found[axes].fits(len(self.shape)):
            return tuple(axes)
        raise ValueError(
            f"axis='incoming': the shape {self.shape} is not that of one {found[axes].layer}; "
            "layers that are stacked have a dimension more: write the axis"
        )


def tied(first: Weight, other: Weight) -> Weight:
    """Return a weight that was found under another name, too, with both."""
    ties = (*first.ties, (other.name, other.role))
    return dataclasses.replace(first, ties=ties, refused=first.refused or other.refused)


def summed_axes(equation: str) -> tuple[int, ...]:
    """Return the dimensions of a kernel that ``einsum`` sums over: the incoming ones.

    Examples
    --------
    >>> summed_axes("abc,cde->abde")
    (0,)
    """
    operands, output = equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1]
    return tuple(i for i, letter in enumerate(kernel) if letter not in output)


def resolved(constraint: Any, weight: Weight) -> Any:
    """Return the constraint with the axis that ``"incoming"`` is for this weight.

    Of what is made of other constraints, each of them.

    Raises
    ------
    ValueError
        If the weight has no such axis, or it is not known.
    TypeError
        If the constraint has that axis, and is not a dataclass.
    """
    if hasattr(constraint, "with_members"):
        return constraint.with_members(lambda member: resolved(member, weight))
    axis = getattr(constraint, "axis", None)
    if not isinstance(axis, str) or axis != INCOMING:
        return constraint
    if not dataclasses.is_dataclass(constraint) or isinstance(constraint, type):
        raise TypeError(
            f"{name_of(type(constraint))} has axis='incoming', and is not a dataclass: "
            "only a dataclass is given another axis"
        )
    axes = weight.incoming
    return dataclasses.replace(constraint, axis=axes[0] if len(axes) == 1 else axes)
