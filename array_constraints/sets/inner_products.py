"""The inner product of each slice with a vector: what half-spaces and hyperplanes share."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any, Self

from array_constraints import parameters, reductions
from array_constraints.forms import Slicewise
from array_constraints.libraries import of_namespace, state
from array_constraints.numerics import inner_products, signed_sums
from array_constraints.numerics.inner_products import InnerProduct
from array_constraints.sets.sums import SideOfSum, not_zero
from array_constraints.typing import (
    Array,
    Namespace,
    name_of,
)

_LEAST, _MOST = 1e-90, 1e90  # a vector's largest entry: then no square leaves the range


class InnerProductConstraint(Slicewise):
    """A constraint on the inner product of each slice with ``normal``."""

    normal: Any
    _one_sided: bool
    _by_entry = ("normal",)

    @property
    def _goal(self) -> Any:
        """The number that inner products are compared with, or one for each slice."""
        return getattr(self, self._name)

    @property
    def _name(self) -> str:
        """The name of the field that has the goal."""
        return fields(self)[1].name  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        super().__post_init__()
        normal = parameters.finite("normal", self.normal)
        if isinstance(normal, int | float | tuple):
            numbers = normal if isinstance(normal, tuple) else (normal,)
            if not _LEAST <= max(map(abs, numbers)) <= _MOST:
                raise ValueError(
                    "normal must not be zero, its largest magnitude between 1e-90 and 1e90, "
                    f"got {max(map(abs, numbers))!r}: both sides may be multiplied by a number"
                )
        object.__setattr__(self, "normal", normal)
        object.__setattr__(self, self._name, parameters.finite(self._name, self._goal))

    def validate(self, w: Array) -> None:
        super().validate(w)
        if 0 in w.shape:
            return
        axes = parameters.axes_of(self, w)
        entries = parameters.number_of_slices(w.shape, tuple(set(range(w.ndim)) - set(axes)))
        if self._is_number or len(self.normal) == entries:
            return
        raise ValueError(
            f"{name_of(type(self))}: normal has {len(self.normal)} entries, a slice of an "
            f"array of shape {tuple(w.shape)} along axis {self.axis} has {entries}"
        )

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        """Return the form for a part of an array, with the part of ``normal`` for it."""
        form = super().for_part(shape, axes, part)
        if not isinstance(self.normal, tuple):
            return form
        own = parameters.numbers_of_part(shape, axes, part)
        if len(own) == len(self.normal):
            return form
        found: Self = state.with_values(form, {"normal": tuple([self.normal[i] for i in own])})
        return found  # not judged: a part of a normal may be zero

    @property
    def _is_number(self) -> bool:
        return not isinstance(self.normal, tuple) and not getattr(self.normal, "ndim", 0)

    @property
    def _sum(self) -> SideOfSum:
        """The constraint on the sum that one number for all entries comes down to."""
        a, goal = self.normal, self._goal
        if isinstance(goal, tuple):
            total: Any = tuple([_ratio(number, a) for number in goal])
        else:
            total = _ratio(goal, a)
        side = (a > 0) * 2.0 - 1.0 if self._one_sided else None
        return SideOfSum(total, side, self.axis)

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Any:
        if self._is_number:
            return self._sum.measure(block, axes, xp)
        library = of_namespace(xp)
        scale = signed_sums.scale_of(block, axes, library, self._goal)
        v: Any = library.accumulated(block)
        v = v if scale is None else v * scale
        entries, precision = reductions.count(block, axes, xp), library.precision(block)
        vector = self._vector(block, axes, xp)
        return inner_products.inner_product(v, vector, axes, entries, scale, precision, library)

    def merge(self, a: Any, b: Any, xp: Namespace) -> Any:
        if isinstance(a, InnerProduct):
            return inner_products.merge(a, b, xp)
        return signed_sums.merge(a, b, xp)

    def excess(self, measure: Any, xp: Namespace) -> Array:
        if self._is_number:
            found: Any = self._sum.excess(measure, xp)
            shown = not_zero(found * abs(self.normal), measure, xp)
            return xp.where(found > 0, shown, found)
        distance, outside, _ = self._found(measure, xp)
        distance = distance if measure.scale is None else distance / measure.scale
        shown = not_zero(distance, measure, xp)
        shown = xp.where(outside, shown, xp.zeros_like(shown))
        return xp.where(inner_products.is_finite(measure), shown, measure.magnitude)

    def apply(self, block: Array, measure: Any, xp: Namespace) -> Array:
        if self._is_number:
            return self._sum.apply(block, measure, xp)
        vector = self._vector(block, parameters.axes_of(self, block), xp)
        library = of_namespace(xp)
        result: Array = library.by_slice(self._applied, measure, block, vector)
        return result

    def _applied(self, block: Any, vector: Any, measure: Any, xp: Namespace) -> Array:
        library, scale = of_namespace(xp), measure.scale
        _, moved, goal = self._found(measure, xp)
        v: Any = library.accumulated(library.fence(block))
        v = v if scale is None else v * scale
        v = xp.where(moved, v, xp.zeros_like(v))  # neither NaN nor infinity
        multiple = inner_products.coefficient(measure, moved, xp)
        v = inner_products.beside(v, vector, multiple, measure.precision, xp)
        if measure.own is not None:
            multiples = inner_products.is_multiple(measure, multiple, xp)
            v = xp.where(multiples, xp.zeros_like(v), v)
        v = v + xp.where(moved, goal / measure.square, xp.zeros_like(goal)) * vector
        v = v if scale is None else v / scale
        return xp.where(moved, xp.astype(v, block.dtype, copy=False), block)

    def _found(self, measure: InnerProduct, xp: Namespace) -> tuple[Any, Any, Any]:
        """Return how far inner products are off, which slices that moves, and the goal.

        This is decided here alone: off by more than rounding leaves of a slice that was moved.
        """
        library, zero = of_namespace(xp), xp.zeros_like(measure.value)
        finite = inner_products.is_finite(measure)
        goal = xp.ones_like(zero) * library.operand(self._goal, measure.value)
        goal = goal if measure.scale is None else goal * measure.scale
        value = xp.where(finite, measure.value, zero)
        off, dropped = signed_sums.add_exactly(value, -goal)
        off = off + (dropped + xp.where(finite, measure.rounding_error, zero))
        distance = off if self._one_sided else xp.abs(off)
        least = signed_sums.least_of(measure.precision, library.flushes())
        outside = distance > inner_products.band(measure, least, xp)
        return distance, outside & finite, goal

    def _vector(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Any:
        """Return ``normal`` as an array beside a block, in the dtype of its accumulator."""
        library = of_namespace(xp)
        shape = tuple([n if i in axes else 1 for i, n in enumerate(block.shape)])
        dtype = getattr(xp, library.precision(block).accumulator.name)
        like = xp.zeros(shape, dtype=dtype, device=library.device(block))
        if 0 in shape:
            return like
        if not isinstance(self.normal, tuple):
            return xp.reshape(xp.astype(self.normal, dtype), shape)
        return library.constant(self.normal, like, alike=True)

    def _stated_derivative(
        self, w: Array, tangent: Array, axes: tuple[int, ...], xp: Namespace
    ) -> Array:
        """Return what the tangent is across ``normal``, where the slice is at the border."""
        if self._is_number:
            return self._sum._stated_derivative(w, tangent, axes, xp)
        library, measure = of_namespace(xp), self.measure(w, axes, xp)
        moved = inner_products.is_finite(measure)
        if self._one_sided:
            moved = self._found(measure, xp)[1]
        vector, wide = self._vector(w, axes, xp), library.accumulated(tangent)
        product = xp.sum(vector * wide, axis=axes, keepdims=True)
        across = wide - vector * (product / measure.square)
        return xp.astype(xp.where(moved, across, wide), tangent.dtype, copy=False)


def _ratio(goal: Any, a: Any) -> Any:
    """Return the sum at which an inner product with entries alike is at its goal."""
    if not isinstance(goal, int | float) or not isinstance(a, int | float):
        return goal / a
    largest = sys.float_info.max
    return min(max(goal / a, -largest), largest)
