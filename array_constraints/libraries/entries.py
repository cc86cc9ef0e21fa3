"""What libraries do to entries: they tell signs and order, clip, and make masks."""

from __future__ import annotations

import math
from typing import Any

from array_constraints.numerics.bit_masks import unpacked
from array_constraints.typing import Array


class Entries:
    """The part of a :class:`Library` that elementwise constraints are made of."""

    xp: Any
    constant: Any
    name_of: Any
    device: Any

    def bits(self, w: Any) -> Any:
        """Return entries as signed integers of the same bits; None where that is unknown."""
        return None

    def negative(self, w: Array) -> Array:
        """Return which entries are less than zero."""
        return w < 0

    def without_negative(self, w: Array) -> Array:
        """Return ``w`` with zeros for what is less than zero; all other bits are kept."""
        result: Array = self.xp.where(self.negative(w), self.xp.zeros_like(w), w)
        return result

    def comparable(self, w: Array) -> Array:
        """Return an array whose entries compare as those of ``w`` do, and faster."""
        return w

    def magnitude(self, w: Any) -> Any:
        """Return numbers in the order of the magnitudes of entries: NaN for NaN.

        Of signed integers one less than these: the least of them has no magnitude.
        """
        v, name = self.comparable(w), self.name_of(w.dtype)
        if name.startswith("uint"):
            return v
        return ~self.xp.where(v > 0, -v, v) if name.startswith("int") else self.xp.abs(v)

    def all_known(self, magnitudes: list[Any], dtype: Any) -> Any:
        """Return where none of some magnitudes of entries is NaN: a sum of them tells it."""
        total = sum(magnitudes[1:], magnitudes[0])
        return self.xp.equal(total, total)

    def is_positive(self, magnitude: Any, dtype: Any) -> Any:
        """Return which magnitudes of entries of a dtype are those of no zeros."""
        signed = self.name_of(dtype).startswith("int")
        return magnitude >= 0 if signed else magnitude > 0

    def nonzero(self, w: Array) -> Array:
        """Return which entries are neither zero nor NaN."""
        v = self.comparable(w)
        return (v < 0) | (v > 0)

    def clipped(self, w: Array, low: Any, high: Any) -> Array:
        """Return ``w`` with what is outside of two bounds of its dtype at them; bit for bit."""
        xp, v = self.xp, self.comparable(w)
        least, most = (self.beside(x, w) for x in (low, high))
        result: Array = xp.where(v < low, least, xp.where(v > high, most, w))
        return result

    def beside(self, number: Any, w: Array) -> Array:
        """Return a number as an array without dimensions, of the dtype and place of ``w``."""
        array: Array = self.xp.astype(self.constant(number, w), w.dtype)
        return array

    def booleans(self, text: str, shape: tuple[int, ...], like: Array) -> Array:
        """Return a mask beside ``like``, from base64 of its bits in C order."""
        raw = unpacked(text, math.prod(shape))
        flat: Array = self.constant(list(map(bool, raw)), like)
        return self.xp.reshape(flat, shape)  # type: ignore[no-any-return]

    def arange(self, n: int, like: Array) -> Array:
        """Return the numbers from 0 to n - 1, beside ``like``."""
        numbers: Array = self.xp.arange(n, device=self.device(like))
        return numbers
