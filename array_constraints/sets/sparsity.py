"""Sparsity: few entries are other than zero."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, final

from array_constraints import parameters
from array_constraints.forms import Elementwise
from array_constraints.libraries import of_namespace
from array_constraints.typing import Array, Namespace, name_of


@final
@dataclass(frozen=True)
class NMSparse(Elementwise):
    r"""Keep the ``n`` entries of largest magnitude of each ``m`` in a row; the others become 0.

    .. math::

        P(w) \in \operatorname*{arg\,min}_{z:\ \lVert z_g \rVert_0 \le n} \lVert z - w \rVert_2

    for all groups :math:`g` of ``m`` consecutive entries along ``axis``. A nearest point: of
    equal magnitudes the first are kept. Idempotent; the set is not convex. It is known as
    semi-structured sparsity, N:M or 2:4, which sparse tensor cores multiply.

    Parameters
    ----------
    n, m
        How many entries of how many are kept, :math:`1 \le n \le m`.
    axis
        The dimension along which entries are consecutive: that of what comes into a unit, the
        last in PyTorch, and 0 in a dense layer of Keras.

    Raises
    ------
    ValueError
        At construction, if not :math:`1 \le n \le m`; on call, if ``axis`` does not fit the
        shape, or its length is no multiple of ``m``.
    TypeError
        At construction, if a parameter is no int; on call, if the dtype is not real numeric.

    Notes
    -----
    Any shape, to the same shape; dtype and device are kept, integers too. A group with at most
    ``n`` entries other than zero comes back bit for bit, and so does one that holds NaN, which
    its violation reports. An infinity has the largest magnitude. The derivative is 1 on what is
    kept, else 0. Time: m (m - 1) / 2 comparisons for each group, each
    of which JAX compiles. A file is read once.

    Source: A. Mishra et al., *Accelerating Sparse Deep Neural Networks* (2021).

    Examples
    --------
    >>> import numpy as np
    >>> NMSparse()(np.asarray([3.0, -4.0, 1.0, 3.0]))
    array([ 3., -4.,  0.,  0.])
    """

    n: int = 2
    m: int = 4
    axis: Any = -1

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, n: int = 2, m: int = 4, axis: int = -1) -> None: ...

    def __post_init__(self) -> None:
        m = parameters.whole_number("m", self.m, lower=1)
        object.__setattr__(self, "m", m)
        object.__setattr__(self, "n", parameters.whole_number("n", self.n, lower=1, upper=m))
        axis = parameters.axis(self.axis)
        if not isinstance(axis, int):
            raise TypeError(f"axis must be an int, got {self.axis!r}")
        object.__setattr__(self, "axis", axis)

    def validate(self, w: Array) -> None:
        super().validate(w)
        along = self._along(w.ndim)
        if w.shape[along] % self.m:
            raise ValueError(
                f"{name_of(type(self))}: axis {self.axis} of shape {tuple(w.shape)} has no "
                f"whole number of groups of m={self.m} entries"
            )

    def groups(self, ndim: int) -> tuple[int, ...]:
        along = self._along(ndim)
        return tuple([self.m if i == along else 1 for i in range(ndim)])

    def project(self, w: Array, xp: Namespace) -> Array:
        planes = self._planes(w)
        zero = xp.zeros_like(planes[0])
        pairs = zip(planes, self._dropped(w, xp), strict=True)
        return self._woven([xp.where(mask, zero, plane) for plane, mask in pairs], w, xp)

    def _project_known(self, w: Any, outside: Any, xp: Namespace) -> Any:
        library: Any = of_namespace(xp)
        return library.zeroed(w, outside)

    def outside(self, w: Array, xp: Namespace) -> Array:
        return self._woven(self._dropped(w, xp), w, xp)

    def excess(self, w: Array, xp: Namespace) -> Array:
        found = xp.where(self.outside(w, xp), xp.abs(w), xp.zeros_like(w))
        return xp.where(xp.equal(w, w), found, w)

    def _along(self, ndim: int) -> int:
        return parameters.normalized_axes(name_of(type(self)), self.axis, ndim)[0]

    def _planes(self, w: Array) -> list[Array]:
        """Return the first, the second, ... entries of all groups."""
        before = (slice(None),) * self._along(w.ndim)
        return [w[(*before, slice(j, None, self.m), ...)] for j in range(self.m)]

    def _dropped(self, w: Array, xp: Namespace) -> list[Array]:
        """Return which of the first, the second, ... entries of groups are to become zero.

        A rank is how many entries come before one: larger, or as large and first; it is made
        of one comparison for each pair.
        """
        library = of_namespace(xp)
        sizes = [library.magnitude(plane) for plane in self._planes(w)]
        known = library.all_known(sizes, w.dtype)
        ranks: list[Any] = list(range(self.m - 1, -1, -1))
        for i, j in combinations(range(self.m), 2):
            first = xp.astype(sizes[i] >= sizes[j], xp.int8 if self.m < 128 else xp.int32)
            ranks[i], ranks[j] = ranks[i] - first, ranks[j] + first
        if self.m == 1:
            return [~known & known]
        return [
            (rank >= self.n) & library.is_positive(size, w.dtype) & known
            for rank, size in zip(ranks, sizes, strict=True)
        ]

    def _woven(self, planes: list[Array], w: Array, xp: Namespace) -> Array:
        """Return the array whose groups have these entries."""
        along = self._along(w.ndim)
        return xp.reshape(xp.stack(planes, axis=along + 1), w.shape)
