"""Constraints on each entry alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from array_constraints.forms import Elementwise
from array_constraints.libraries import of_namespace
from array_constraints.numerics import subnormals
from array_constraints.typing import Array, Namespace


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


non_neg = NonNeg
