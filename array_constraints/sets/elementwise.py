"""Constraints on each entry alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from array_constraints import _arrays
from array_constraints.constraint import Elementwise
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
        if _unsigned(w, xp):
            return w
        result: Array = _arrays.library(xp).without_negative(w, xp)
        return result

    def satisfied(self, w: Array, xp: Namespace) -> bool:
        return _unsigned(w, xp) or not bool(xp.any(_arrays.library(xp).negative(w, xp)))

    def excess(self, w: Array, xp: Namespace) -> Array:
        if subnormals.flushed():
            negative = _arrays.library(xp).negative(w, xp)
            return xp.where(negative, xp.abs(w), xp.zeros_like(w))
        return xp.abs(xp.minimum(w, xp.zeros_like(w)))  # where() is slow on mixed signs


def _unsigned(w: Array, xp: Namespace) -> bool:
    return _arrays.dtype_name(w, xp).startswith("uint")


non_neg = NonNeg
