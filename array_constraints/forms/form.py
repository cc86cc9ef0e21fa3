"""The base of the forms: what a call is, and which arrays are taken."""

from __future__ import annotations

from abc import ABC
from dataclasses import is_dataclass
from typing import Any, ClassVar, Literal, Self, TypeAlias, overload

from array_constraints import parameters
from array_constraints.constraint import Constraint
from array_constraints.executors import acceptance, run
from array_constraints.libraries import state
from array_constraints.typing import A, Array, Castable, name_of

Needs: TypeAlias = Literal["entries", "measures", "regions", "sizes", "slices"]


class Form(Constraint, ABC):
    """A constraint whose mathematics the executors know how to run.

    Examples
    --------
    >>> from array_constraints import Elementwise, Rescaling, Slicewise
    >>> issubclass(Elementwise, Form), issubclass(Rescaling, Slicewise)
    (True, True)
    """

    needs: ClassVar[Needs]
    """The part of a weight that has to be known at once to constrain an entry."""

    def __call__(self, w: A, *, copy: bool | None = None) -> A:
        """Return the allowed weight for ``w``: same namespace, shape, dtype and device.

        Parameters
        ----------
        w
            An array of any library that follows the array API standard.
        copy
            ``None``: ``w`` is never modified, and may itself be returned where nothing changes.
            ``True``: always a new array. ``False``: writes into ``w`` and returns it.

        Raises
        ------
        TypeError
            If ``w`` is not an array, or its dtype is not one that this constraint takes.
        ValueError
            If the shape or axis does not fit, or ``copy=False`` and ``w`` cannot be written.
        """
        result: A = run.run(self, w, copy)
        return result

    _call_of_forms = __call__  # a class that overrides the one above still has this

    @overload
    def violation(self, w: Castable[A]) -> A: ...
    @overload
    def violation(self, w: A) -> A: ...
    def violation(self, w: Any) -> Any:
        """Return how far the rule is broken: 0 where it holds, in the accumulator's dtype.

        The distance of an entry, or of a slice (dimensions kept), to what is allowed; NaN for
        NaN, and infinity for an infinity that is not allowed.
        """
        return run.violation(self, w)

    def validate(self, w: Array) -> None:
        """Raise where the shape or dtype of ``w`` does not fit; values are never read."""
        acceptance.require_real_floating(name_of(type(self)), w)

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        """Return the form for a part of an array of ``shape``, whose slices run along ``axes``.

        A form whose slices have parameters of their own overrides it, and one to which it
        matters where in the array an entry is. The part may end within slices.
        """
        return self

    _for_part_of_forms = for_part


class AlongAxis(Form):
    """A form whose slices run along the dimensions that its ``axis`` names."""

    axis: Any  # an `Axis`, or less: the type of an attribute cannot be narrowed in a subclass

    def __post_init__(self) -> None:
        """Judge ``axis`` where it is a field; a subclass that overrides this calls it."""
        if is_dataclass(self) and "axis" in type(self).__dataclass_fields__:
            object.__setattr__(self, "axis", parameters.axis(self.axis))

    def validate(self, w: Array) -> None:
        super().validate(w)
        slices = parameters.number_of_slices(w.shape, parameters.axes_of(self, w))
        for name, bounds in self._bounds_by_slice().items():
            if len(bounds) != slices:
                raise ValueError(
                    f"{name_of(type(self))}: {name} has {len(bounds)} entries, an array of "
                    f"shape {tuple(w.shape)} has {slices} slices along axis {self.axis}"
                )

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        """Return the form with the bounds of the slices in a part of an array of ``shape``.

        Fields of type :data:`Bound` may hold a tuple, with a number for each slice.
        """
        bounds = self._bounds_by_slice()
        if not bounds:
            return self
        others = [i for i in range(len(shape)) if i not in axes]
        numbers = parameters.numbers_of_part(shape, others, part)
        own = {name: tuple([all_[i] for i in numbers]) for name, all_ in bounds.items()}
        found: Self = state.with_values(self, own)
        return found

    _by_entry: ClassVar[tuple[str, ...]] = ()
    """The fields that are data with a number for each entry of a slice."""

    def _bounds_by_slice(self) -> dict[str, Any]:
        """Return the fields that have a number for each slice."""
        found = state.numbers_of(self)
        return {name: x for name, x in found.items() if name not in self._by_entry}
