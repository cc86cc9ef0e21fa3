"""Masks: entries that are kept, and others that are zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from array_constraints.libraries import of_namespace
from array_constraints.sets.packing import packed
from array_constraints.sets.patterns import Pattern, Region
from array_constraints.typing import Array, Namespace, name_of


@final
@dataclass(frozen=True)
class Mask(Pattern):
    r"""Make the entries zero that a mask leaves out.

    .. math::

        P(w)_i = \begin{cases} w_i & m_i \\ 0 & \text{otherwise} \end{cases}

    The nearest point of a linear space: convex, idempotent, non-expansive. It holds a network
    to a pattern that was found once, by pruning.

    Parameters
    ----------
    mask
        An array or nested lists of truth values, as many dimensions as the weight, each of its
        length or of length 1; true where an entry is kept. It is stored packed, eight to a
        byte, as text: base64 of its bits in C order, the first the most significant.
    shape
        The lengths of the mask, where it is given as such a text.

    Raises
    ------
    ValueError
        At construction, if the mask is no array, or the text does not fit the shape; on call,
        if the mask does not fit the weight.
    TypeError
        At construction, if the mask holds other than truth values; on call, if the dtype is
        not real numeric.

    Notes
    -----
    Any shape, to the same shape; dtype and device are kept, integers too. What is kept comes
    back bit for bit; so do zeros of either sign, and NaN. An infinity that is left out becomes
    0. The derivative is 1 on what is kept, else 0. A file is read once; of memory, the mask
    takes a byte for each of its entries while it is applied.

    Examples
    --------
    >>> import numpy as np
    >>> Mask([[True, False]])(np.ones((2, 2)))
    array([[1., 0.],
           [1., 0.]])
    """

    mask: str
    shape: tuple[int, ...] | None = None

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, mask: Any, shape: tuple[int, ...] | None = None) -> None: ...

    def __post_init__(self) -> None:
        text, shape = packed(self.mask, self.shape)
        object.__setattr__(self, "mask", text)
        object.__setattr__(self, "shape", shape)

    def validate(self, w: Array) -> None:
        super().validate(w)
        own: Any = self.shape
        if len(own) == w.ndim and all(
            n in (1, length) for n, length in zip(own, w.shape, strict=True)
        ):
            return
        raise ValueError(
            f"{name_of(type(self))}: the mask has shape {own}, which does not fit an array of "
            f"shape {tuple(w.shape)}: as many dimensions, each of its length or 1"
        )

    def allowed(self, w: Array, xp: Namespace) -> Array:
        shape: Any = self.shape
        return of_namespace(xp).booleans(self.mask, shape, w)

    def for_part(self, shape: tuple[int, ...], axes: tuple[int, ...], part: Region) -> Any:
        return _PartOfMask(self, part)


@dataclass(frozen=True)
class _PartOfMask(Pattern):
    whole: Pattern
    region: Region

    def allowed(self, w: Array, xp: Namespace) -> Array:
        found = self.whole.allowed(w, xp)
        pairs = zip(self.region, found.shape, strict=True)
        return found[tuple([part if n > 1 else slice(0, n) for part, n in pairs])]

    def for_part(self, shape: tuple[int, ...], axes: tuple[int, ...], part: Region) -> Any:
        return _PartOfMask(self, part)
