"""Constraints on the inner product of each slice with a vector."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, final

from array_constraints import parameters, reductions
from array_constraints.forms import Slicewise
from array_constraints.libraries import of_namespace
from array_constraints.numerics import inner_products, signed_sums
from array_constraints.numerics.inner_products import InnerProduct
from array_constraints.sets.sums import SideOfSum
from array_constraints.typing import (
    Array,
    Axis,
    AxisLike,
    Bound,
    BoundLike,
    Namespace,
    name_of,
)

_LEAST, _MOST = 1e-90, 1e90  # a vector's largest entry: then no square leaves the range


class _InnerProductConstraint(Slicewise):
    """A constraint on the inner product of each slice with ``normal``."""

    normal: Any
    _one_sided: bool

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
                    "the largest magnitude of normal must be between 1e-90 and 1e90, got "
                    f"{max(map(abs, numbers))!r}: multiply normal and {self._name} by a number"
                )
        object.__setattr__(self, "normal", normal)
        object.__setattr__(self, self._name, parameters.finite(self._name, self._goal))

    def validate(self, w: Array) -> None:
        super().validate(w)
        parameters.judge_number_of_slices(self, self._name, w)
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
        normal, goal = self.normal, self._goal
        if isinstance(normal, tuple):
            own = parameters.numbers_of_part(shape, axes, part)
            normal = normal if len(own) == len(normal) else tuple(normal[i] for i in own)
        goal = parameters.of_slices_in_part(goal, shape, axes, part)
        if normal is self.normal and goal is self._goal:
            return self
        other = object.__new__(type(self))  # part of a normal may be zero
        for name, value in (("normal", normal), (self._name, goal), ("axis", self.axis)):
            object.__setattr__(other, name, value)
        return other

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
            least = measure.precision.accumulator.smallest_normal
            shown = xp.maximum(found * abs(self.normal), xp.full_like(found, least))
            return xp.where(found > 0, shown, found)
        distance, outside, _ = self._found(measure, xp)
        distance = distance if measure.scale is None else distance / measure.scale
        least = measure.precision.accumulator.smallest_normal
        shown = xp.maximum(distance, xp.full_like(distance, least))
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
        if not isinstance(self.normal, tuple):
            return xp.reshape(xp.astype(self.normal, dtype), shape)
        like = xp.zeros(shape, dtype=dtype, device=library.device(block))
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


@final
@dataclass(frozen=True)
class Halfspace(_InnerProductConstraint):
    r"""Move each slice along ``axis`` whose inner product with ``normal`` exceeds ``bound``.

    .. math::

        P(w) = \arg\min_x \lVert x - w \rVert_2
        \ \text{where}\ \langle a, x \rangle \le b, \qquad
        P(w) = w - \frac{\max(0, \langle a, w \rangle - b)}{\langle a, a \rangle} a

    This is the nearest point, of a convex set: idempotent, non-expansive.

    Parameters
    ----------
    normal
        The vector :math:`a`: as many finite numbers as a slice has entries, in C order, or one
        for all entries alike. Not zero, and the largest magnitude between 1e-90 and 1e90.
    bound
        The bound :math:`b`, finite. A sequence gives each slice its own, in C order of the
        dimensions that ``axis`` leaves.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if ``normal`` is zero or not in that range, or ``bound`` not finite; on
        call, if ``axis``, or the number of entries of ``normal`` or ``bound``, does not fit the
        shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. With the roundoff u
    and the smallest normal number t of the dtype, the inner product of a result x that was
    moved is off by at most :math:`1.01 u \sum |a_i x_i| + u t \sum |a_i|` (5.01 u in float64);
    a slice that is as close to the bound, or below it, comes back bit for bit, so that a second
    call changes nothing. In float64, a slice within :math:`2^{-46}` of a multiple of ``normal``
    is taken for one. ``violation`` is :math:`\max(0, \langle a, w \rangle - b)`. A slice
    holding NaN or infinity stays; an entry beyond the largest number of the dtype becomes infinite.
    The derivative is that of the formula above, the identity where a slice is kept.

    Two reads and one write, and five numbers for each slice beside them.

    Examples
    --------
    >>> import numpy as np
    >>> Halfspace([1.0, 2.0], bound=5.0)(np.asarray([[3.0, 1.0], [6.0, 2.0]]))
    array([[1., 1.],
           [2., 2.]])
    """

    normal: Bound
    bound: Bound = 0.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self, normal: BoundLike, bound: BoundLike = 0.0, axis: AxisLike = 0
        ) -> None: ...

    _one_sided = True


@final
@dataclass(frozen=True)
class Hyperplane(_InnerProductConstraint):
    r"""Move each slice along ``axis`` so that its inner product with ``normal`` is ``value``.

    .. math::

        P(w) = \arg\min_x \lVert x - w \rVert_2
        \ \text{where}\ \langle a, x \rangle = b, \qquad
        P(w) = w - \frac{\langle a, w \rangle - b}{\langle a, a \rangle} a

    This is the nearest point, of a convex set: idempotent, non-expansive.

    Parameters
    ----------
    normal
        The vector :math:`a`: as many finite numbers as a slice has entries, in C order, or one
        for all entries alike. Not zero, and the largest magnitude between 1e-90 and 1e90.
    value
        The inner product :math:`b`, finite. A sequence gives each slice its own, in C order of
        the dimensions that ``axis`` leaves.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if ``normal`` is zero or not in that range, or ``value`` not finite; on
        call, if ``axis``, or the number of entries of ``normal`` or ``value``, does not fit the
        shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    As for :class:`Halfspace`, on both sides. ``violation`` is
    :math:`|\langle a, w \rangle - b|`. The derivative is that of the formula above, also where
    a slice is kept.

    Examples
    --------
    >>> import numpy as np
    >>> Hyperplane([1.0, 2.0], value=5.0)(np.asarray([[3.0, 1.0], [6.0, 2.0]]))
    array([[1., 1.],
           [2., 2.]])
    """

    normal: Bound
    value: Bound = 0.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self, normal: BoundLike, value: BoundLike = 0.0, axis: AxisLike = 0
        ) -> None: ...

    _one_sided = False
