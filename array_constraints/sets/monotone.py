"""Slices whose entries are in order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from array_constraints import parameters
from array_constraints.forms import WholeSlice
from array_constraints.libraries import of_namespace
from array_constraints.numerics import isotonic
from array_constraints.typing import Array, Axis, Namespace, name_of


@final
@dataclass(frozen=True)
class Monotone(WholeSlice):
    r"""Bring each slice along ``axis`` to the nearest one whose entries never fall.

    .. math::

        P(w) = \arg\min_{x_1 \le x_2 \le \dots \le x_n} \lVert x - w \rVert_2

    This is isotonic regression: entries that are out of order become their mean, together with
    as many neighbours as it takes. The nearest point of a convex set: idempotent,
    non-expansive.

    Parameters
    ----------
    increasing
        Whether entries may rise along ``axis``, and not fall; with False they may fall, and not
        rise.
    axis
        The dimension along which entries are in order: one, as a tuple too. ``None`` does for
        an array of one dimension.

    Raises
    ------
    ValueError
        On call, if ``axis`` does not fit the shape, or names several dimensions.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. A result is in order
    exactly. An entry that is averaged with others is within a roundoff of the exact mean of
    these, and :math:`L + 2` roundoffs of the accumulator (float64, where there is one) of the
    mean of their magnitudes, :math:`L = \lceil \log_2 n \rceil`. Others keep their bits, and so
    do slices in order. Elsewhere than in NumPy, and PyTorch on a CPU, what has means as close
    as that may be averaged together.

    ``violation`` is the largest fall: how far an entry is below any before it (above, where
    ``increasing`` is False). A slice that holds NaN stays, and so does one with an infinity:
    its violation is 0 if it is in order, and infinite if not. The derivative is that of the
    averages: the mean of what is averaged, the identity elsewhere.

    A file is read once, and whole slices have to fit into a chunk. Arrays of NumPy, and of
    PyTorch on a CPU, take O(n) steps, and some four times the memory in float64 of what is
    taken at a time: 2**18 entries, or one slice. Elsewhere O(n L) additions and O(n L**2)
    comparisons, on JAX a loop of 2 n steps over all slices, and under ``jit`` fourteen times
    the memory of float32.

    Source: R. E. Barlow, D. J. Bartholomew, J. M. Bremner, H. D. Brunk, *Statistical Inference
    under Order Restrictions* (1972).

    Examples
    --------
    >>> import numpy as np
    >>> Monotone()(np.asarray([1.0, 4.0, 2.0, 3.0, 5.0]))
    array([1., 3., 3., 3., 5.])
    >>> Monotone(increasing=False)(np.asarray([1.0, 3.0, 0.0]))
    array([2., 2., 0.])
    """

    increasing: bool = True
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self, increasing: bool = True, axis: int | tuple[int] | list[int] | None = 0
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = parameters.truth_value("increasing", self.increasing)
        object.__setattr__(self, "increasing", rising)

    def validate(self, w: Array) -> None:
        super().validate(w)
        axes = parameters.axes_of(self, w)
        if len(axes) > 1:
            raise ValueError(
                f"{name_of(type(self))}: axis {self.axis} names {len(axes)} dimensions of "
                f"shape {tuple(w.shape)}: entries are in order along one, give that as an int"
            )

    def project(self, slices: Array, xp: Namespace) -> Array:
        if not slices.ndim:
            return slices
        library: Any = of_namespace(xp)
        x, scale = self._out_of_order(slices, xp)
        solved = library.nondecreasing(x)
        changed: Any = self._turned(~xp.equal(solved, x), xp)
        solved = self._turned(solved if scale is None else solved / scale, xp)
        return xp.where(changed, xp.astype(solved, slices.dtype, copy=False), slices)

    def excess(self, slices: Array, xp: Namespace) -> Array:
        x: Any = xp.reshape(slices, (1,)) if not slices.ndim else self._turned(slices, xp)
        fall: Any = isotonic.largest_fall(x, xp)
        finite = xp.all(xp.isfinite(x), axis=-1, keepdims=True)
        fall = xp.where(finite | (fall == 0), fall, xp.full_like(fall, math.inf))
        unknown = xp.any(xp.isnan(x), axis=-1, keepdims=True)
        fall = xp.where(unknown, xp.full_like(fall, math.nan), fall)
        return fall if slices.ndim else xp.reshape(fall, ())

    def _stated_derivative(self, slices: Array, tangent: Array, xp: Namespace) -> Array:
        """Return the tangent averaged over what is averaged of the slices."""
        if not slices.ndim:
            return tangent
        library: Any = of_namespace(xp)
        x, _ = self._out_of_order(slices, xp)
        wide = self._turned(library.accumulated(tangent), xp)
        wide = isotonic.averaged(wide, x, library.nondecreasing(x), library)
        found = self._turned(wide, xp)
        return xp.astype(found, tangent.dtype, copy=False)

    def _turned(self, slices: Array, xp: Namespace) -> Any:
        """Return slices in the direction in which entries are not to fall, or back."""
        return slices if self.increasing else xp.flip(slices, axis=-1)

    def _out_of_order(self, slices: Array, xp: Namespace) -> tuple[Any, Any]:
        """Return slices to solve, zeros for those that stay, and what they were multiplied by.

        None where no sum of them leaves the range.
        """
        library = of_namespace(xp)
        x = self._turned(library.accumulated(slices), xp)
        falls = xp.any(x[..., 1:] < x[..., :-1], axis=-1, keepdims=True)
        moves = falls & xp.all(xp.isfinite(x), axis=-1, keepdims=True)
        x = xp.where(moves, x, xp.zeros_like(x))
        scale = isotonic.scale_of(x, library.precision(slices), library)
        return (x if scale is None else x * scale), scale
