"""Half-spaces and hyperplanes: the inner product of each slice with a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from array_constraints.sets.inner_products import InnerProductConstraint
from array_constraints.typing import Axis, AxisLike, Bound, BoundLike


@final
@dataclass(frozen=True)
class Halfspace(InnerProductConstraint):
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
    holding NaN or infinity stays; an entry beyond the largest number of the dtype becomes
    infinite.
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
class Hyperplane(InnerProductConstraint):
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
