"""Constraints on each entry alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from array_constraints import libraries, parameters
from array_constraints.forms import Elementwise
from array_constraints.libraries import compiling, of_namespace
from array_constraints.numerics import inwards, subnormals
from array_constraints.typing import Array, Bound, Namespace, NumberLike, name_of


@final
@dataclass(frozen=True)
class NonNeg(Elementwise):
    r"""Replace each negative entry by zero.

    .. math::

        P(w)_i = \max(w_i, 0)

    This is the Euclidean projection onto the non-negative orthant: convex, idempotent,
    non-expansive.

    Raises
    ------
    TypeError
        On call, if the dtype is not real numeric (``bool`` and complex are refused).

    Notes
    -----
    Any shape, to the same shape; dtype and device are kept, integers too. NaN and ``-0.0`` come
    back as they are, ``-inf`` becomes 0. The derivative at 0 is 1, that of the satisfied side.
    Keras returns ``-0.0`` or ``0.0`` for ``-0.0``, depending on its backend.

    Examples
    --------
    >>> import numpy as np
    >>> NonNeg()(np.asarray([1.0, -2.0]))
    array([1., 0.])
    """

    def project(self, w: Array, xp: Namespace) -> Array:
        return w if _unsigned(w, xp) else of_namespace(xp).without_negative(w)

    def _project_in_place(self, w: Any, outside: Any, xp: Namespace) -> None:
        library: Any = of_namespace(xp)
        library.zero_negative(w, outside)

    def outside(self, w: Array, xp: Namespace) -> Array:
        if _unsigned(w, xp):
            return ~xp.equal(w, w)
        return of_namespace(xp).negative(w)

    def _outside_at_hand(self, w: Any, xp: Namespace) -> Any:
        if type(self) is not NonNeg or _unsigned(w, xp):
            return super()._outside_at_hand(w, xp)
        library: Any = of_namespace(xp)
        return library.negative_at_hand(w)

    def excess(self, w: Array, xp: Namespace) -> Array:
        if subnormals.flushed():
            return xp.where(of_namespace(xp).negative(w), xp.abs(w), xp.zeros_like(w))
        return xp.abs(xp.minimum(w, xp.zeros_like(w)))  # where() is slow on mixed signs


def _unsigned(w: Array, xp: Namespace) -> bool:
    return of_namespace(xp).name_of(w.dtype).startswith("uint")


@final
@dataclass(frozen=True)
class Box(Elementwise):
    r"""Bring each entry into ``[min_value, max_value]``: clip it.

    .. math::

        P(w) = \operatorname*{arg\,min}_{a \le z_i \le b} \lVert z - w \rVert_2, \qquad
        P(w)_i = \min(\max(w_i, a), b)

    The nearest point: convex, idempotent, non-expansive. It is known as weight clipping, as
    hypercube, and with ``-c`` and ``c`` as the ball of the largest magnitude.

    Parameters
    ----------
    min_value, max_value
        The bounds :math:`a \le b`, each of which may be infinite. One that the dtype cannot
        represent is rounded inwards, so that no result is outside of them.

    Raises
    ------
    ValueError
        At construction, if a bound is NaN or ``min_value > max_value``; on call, if no finite
        number of the dtype lies between the bounds.
    TypeError
        At construction, if a bound is no number; on call, if the dtype is not real numeric
        (``bool`` and complex are refused).

    Notes
    -----
    Any shape, to the same shape; dtype and device are kept, integers too. What is allowed, and
    NaN, comes back bit for bit; an infinity beyond a bound becomes that bound. The derivative
    is 1 where an entry is allowed, the bounds included, else 0. A file is read once.

    Source: J. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd ed. (2006), 16.7.

    Examples
    --------
    >>> import numpy as np
    >>> Box(-1.0, 0.5)(np.asarray([0.25, -2.0, 3.0]))
    array([ 0.25, -1.  ,  0.5 ])
    """

    min_value: Bound = -1.0
    max_value: Bound = 1.0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self, min_value: NumberLike = -1.0, max_value: NumberLike = 1.0
        ) -> None: ...

    def __post_init__(self) -> None:
        low = parameters.number("min_value", self.min_value, lower=-math.inf)
        high = parameters.number("max_value", self.max_value, lower=-math.inf)
        parameters.judge_order(low, high)
        object.__setattr__(self, "min_value", low)
        object.__setattr__(self, "max_value", high)

    def validate(self, w: Array) -> None:
        super().validate(w)
        if self._is_known and not compiling():
            self._numbers(w)

    def project(self, w: Array, xp: Namespace) -> Array:
        result: Array = of_namespace(xp).clipped(w, *self._bounds(w, xp))
        return result

    def outside(self, w: Array, xp: Namespace) -> Array:
        low, high = self._bounds(w, xp)
        v = of_namespace(xp).comparable(w)
        found: Array = (v < low) | (v > high)
        return found

    def excess(self, w: Array, xp: Namespace) -> Array:
        library = of_namespace(xp)
        low, high = (library.operand(bound, w) for bound in (self.min_value, self.max_value))
        below, outside = w < low, (w < low) | (w > high)
        zero = xp.zeros_like(w)
        bound = xp.where(below, zero + low, zero + high)  # of two infinities no difference
        distance = xp.abs(xp.where(outside, w, zero) - xp.where(outside, bound, zero))
        return xp.where(xp.equal(w, w), distance, w)

    @property
    def _is_known(self) -> bool:
        return all(isinstance(bound, int | float) for bound in (self.min_value, self.max_value))

    def _bounds(self, w: Array, xp: Namespace) -> tuple[Any, Any]:
        """Return the bounds, rounded inwards: numbers, or arrays where they are traced."""
        library = of_namespace(xp)
        if self._is_known and not library.traced(w):
            return self._numbers(w)
        v = library.accumulated(w)
        low, high = (library.operand(bound, v) for bound in (self.min_value, self.max_value))
        return inwards.arrays(low, high, w, library)

    def _numbers(self, w: Array) -> tuple[Any, Any]:
        name = libraries.of(w).name_of(w.dtype)
        bounds: Any = self.min_value, self.max_value
        low, high = inwards.bounds(*bounds, name)
        if low > high or math.inf in (low, -high):
            raise ValueError(
                f"{name_of(type(self))}: no finite {name} lies between min_value "
                f"{bounds[0]!r} and max_value {bounds[1]!r}"
            )
        return low, high


non_neg = NonNeg
