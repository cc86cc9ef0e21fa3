"""The base of all libraries: every operation, in functions of the array API standard."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from array_constraints.libraries.entries import Entries
from array_constraints.libraries.running import Running
from array_constraints.numerics import signed_sums, subnormals, sums
from array_constraints.numerics.formats import FORMATS, PRECISIONS, Precision
from array_constraints.numerics.margins import rounded_down
from array_constraints.numerics.sums import Sum, Term
from array_constraints.typing import Array, Count, Namespace


class Library(Entries, Running):
    """An array library, as any conforming one is used: CuPy, array-api-strict, ...

    A subclass overrides what its library does otherwise, or faster, with the reason beside it.
    """

    at_hand_by_type = False
    """Whether type, dtype and shape alone say whether an array is at hand."""

    def __init__(self, xp: Namespace) -> None:
        self.xp: Any = xp

    # What an array is.

    def refused(self, w: Any) -> str | None:
        """Return why no constraint takes ``w``, though it is an array; None if they do."""
        return None

    def array(self, w: Any) -> Any:
        """Return ``w``, or the array that stands for it: a scalar has no operators in place."""
        return w

    def name_of(self, dtype: Any) -> str:
        """Return the name that the standard gives a dtype."""
        return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]

    def has_float64(self, w: Any) -> bool:
        """Whether float64 exists where ``w`` is."""
        return "float64" in self.xp.__array_namespace_info__().dtypes(device=w.device)

    def precision(self, w: Any) -> Precision:
        """Return the format of ``w`` (float64 for integers) and that of its accumulator."""
        widest, name = "float64" if self.has_float64(w) else "float32", self.name_of(w.dtype)
        return PRECISIONS[name if name in FORMATS else widest, widest]

    def device(self, w: Any) -> Any:
        """Return where ``w`` is, to make arrays there; None for where they are used."""
        return getattr(w, "device", None)

    def traced(self, number: Any) -> bool:
        """Whether a number, an array of no dimensions, has no value yet."""
        return False

    # What is made of it.

    def accumulated(self, w: Array) -> Array:
        """Return ``w`` in the dtype of its accumulator: float64 where there is one."""
        (weight, accumulator), xp = self.precision(w), self.xp
        wide: Array = xp.astype(w, getattr(xp, accumulator.name), copy=False)
        narrow = weight != accumulator and self.name_of(w.dtype) in FORMATS
        bits = self.bits(w) if narrow and subnormals.flushed() else None
        if bits is None:
            return wide
        exact, subnormal = subnormals.widened(
            bits, weight.digits, weight.smallest_normal, wide.dtype, xp
        )
        found: Array = xp.where(subnormal, exact, wide)
        return found

    def flushes(self) -> bool:
        """Whether the processor takes subnormal numbers for zeros."""
        return subnormals.flushed()

    def zero_dimensional(self, result: Any) -> Any:
        """Return a result as an array: NumPy makes a scalar of one without dimensions."""
        return result if hasattr(result, "__setitem__") else self.xp.asarray(result)

    def constant(self, numbers: Any, like: Array, *, alike: bool = False) -> Array:
        """Return numbers as an array beside ``like``; ``alike``: in its dtype and shape."""
        dtype = like.dtype if alike else None
        array: Array = self.xp.asarray(numbers, dtype=dtype, device=self.device(like))
        return self.xp.reshape(array, like.shape) if alike else array

    def operand(self, bound: Any, like: Array) -> Any:
        """Return a bound as ``float``, or where it is data as an array beside ``like``.

        One number for each slice, in C order, gets the shape of ``like``. An array of this
        library stays one: it may be traced, or recorded.
        """
        if isinstance(bound, int | float):
            return float(bound)
        if not isinstance(bound, tuple | list | type(like)) and not self.traced(bound):
            if not hasattr(bound, "tolist"):
                kind = type(bound).__name__
                raise TypeError(f"a bound is a number, or one for each slice, got a {kind}")
            return self.operand(bound.tolist(), like)
        if isinstance(bound, tuple | list):
            fmt = FORMATS[self.name_of(like.dtype)]
            numbers = [rounded_down(float(number), fmt) for number in bound]
            return self.constant(numbers, like, alike=True)
        wide = self.xp.astype(bound, like.dtype)
        return self.xp.reshape(wide, like.shape) if wide.ndim else wide

    # What changes of slices are made of: see ``executors/change.py``.

    def empty_like(self, w: Any) -> Any:
        """Return a new array with the shape and dtype of ``w``."""
        return self.xp.empty_like(w)

    def largest(self, x: Any) -> float:
        """Return the largest entry, NaN if one is NaN."""
        return float(self.xp.max(x))

    def smallest(self, x: Any) -> float:
        """Return the smallest entry, NaN if one is NaN."""
        return float(self.xp.min(x))

    def number(self, x: float) -> Any:
        """Return a number to compute with arrays: the standard's where takes arrays alone."""
        return self.xp.asarray(x)

    def product(self, w: Any, factor: Any) -> Any:
        """Return ``w`` times a factor, which may be wider, rounded to its dtype at the end."""
        product = self.xp.astype(w, factor.dtype, copy=False) * factor
        return self.xp.astype(product, w.dtype, copy=False)

    def where(self, condition: Any, x1: Any, x2: Any) -> Any:
        """Return entries of ``x1`` or ``x2``, which have the same dtype."""
        return self.xp.where(condition, x1, x2)

    # Sums over slices.

    def count(self, block: Array, axes: tuple[int, ...]) -> Count:
        """Return how many entries of ``block`` each slice along ``axes`` has.

        The standard writes None for a length that is unknown before computing, and Dask NaN.
        """
        entries = 1
        for i in axes:
            n = block.shape[i]
            if n is None or n != n:
                ones = self.xp.ones_like(self.accumulated(block))
                found: Array = self.xp.sum(ones, axis=axes, keepdims=True)
                return found
            entries *= int(n)
        return entries  # an int: torch.compile then knows it, and margins depend on it

    def sum(self, x: Array, axes: tuple[int, ...]) -> Array:
        """Return the sum of each slice, in the accumulator: within L + 1 roundoffs.

        Relative to the sum of magnitudes, with L = ceil(log2 n); where float64 adds up n
        entries of float32 or less, within n, less than one of the weight's up to 2**29.
        """
        add = self._add_in_any_order if self.precision(x).many_spare_digits else self._add
        return add(x, None, axes, lambda x, scale: self.accumulated(x))

    def sum_in_pairs(self, x: Any, axes: tuple[int, ...], factor: Any = None) -> Any:
        """Return sums of entries, or of products, and what rounding dropped from them."""
        error: Any = None
        if factor is not None:
            x, error = signed_sums.products(x, factor, self.precision(x).accumulator.digits)
        return signed_sums.sum_in_pairs(x, error, axes, self.xp)

    def sum_of_magnitudes(self, x: Array, axes: tuple[int, ...]) -> Sum:
        """Return the sum of magnitudes of each slice: within L + 1 roundoffs."""
        return self._sum_of_powers(x, axes, 1)

    def sum_of_squares(
        self, x: Array, axes: tuple[int, ...], in_any_order: bool = False
    ) -> Sum:
        """Return the sum of squares of each slice; its root is within L/2 + 1.5 roundoffs.

        For any length, any order of memory and the whole exponent range. ``in_any_order``: as
        the library adds, where the roundoff of the accumulator is negligible.
        """
        return self._sum_of_powers(x, axes, 2, in_any_order)

    def largest_magnitude(self, x: Array, axes: tuple[int, ...]) -> Array:
        """Return the largest magnitude of each slice, 0 where it has no entries."""
        return sums.largest_magnitude(x, axes, self.xp)

    def scale(self, peak: Array, precision: Precision) -> Array:
        """Return the power of two that keeps sums in the range, by largest magnitudes."""
        return sums.power_of_two(peak, precision, self.xp)

    def _sum_of_powers(
        self, x: Array, axes: tuple[int, ...], power: int, in_any_order: bool = False
    ) -> Sum:
        precision, scale = self.precision(x), None
        if precision.overflows(power):
            scale = self.scale(self.accumulated(self.largest_magnitude(x, axes)), precision)

        def term(x: Array, scale: Array | None) -> Array:
            v = self.accumulated(x)
            v = v if scale is None else v * scale
            return v * v if power == 2 else self.xp.abs(v)

        if not precision.many_spare_digits:
            value = self._add(x, scale, axes, term)
        elif in_any_order:
            value = sums.plain_sum(x, scale, axes, self.xp, term)
        else:
            value = self._add_in_any_order(x, scale, axes, term)
        error = None if precision.any_order else self.xp.zeros_like(value)
        return Sum(self.count(x, axes), scale, value, error, precision, power)

    def _add(self, x: Array, scale: Array | None, axes: tuple[int, ...], term: Term) -> Array:
        """Add terms so that L = ceil(log2 n) roundoffs are the most that a sum is off."""
        return sums.pairwise_sum(x, scale, axes, self.xp, term)

    def _add_in_any_order(
        self, x: Array, scale: Array | None, axes: tuple[int, ...], term: Term
    ) -> Array:
        """Add terms where the accumulator has digits to spare: within 1,020 roundoffs."""
        return self._add(x, scale, axes, term)

    # Arrays at hand in the memory of the processor: see ``block_sums.py``.

    def is_eager(self, w: Any) -> bool:
        """Whether no compiler traces this, which would not see through tables and caches."""
        return True

    def at_hand(self, w: Any) -> bool:
        """Whether the values of ``w`` may be read, and blocks of it be written."""
        return False

    def on_device(self, w: Any) -> bool:
        """Whether ``w`` would be at hand but for the accelerator that it is on."""
        return False

    # What becomes of a result.

    def copied(self, w: Any) -> Any:
        """Return a new array of the same entries."""
        return self.xp.asarray(w, copy=True)

    def unwritable(self, w: Any) -> str | None:
        """Return why ``w`` cannot be written, as far as the library says so beforehand."""
        return None

    def write(self, w: Any, result: Any) -> None:
        """Write a result into ``w``, or raise ValueError."""
        try:
            w[...] = result
        except (TypeError, ValueError) as error:  # a library that cannot be asked beforehand
            raise ValueError(f"copy=False cannot write into this array: {error}") from error

    def memories(self, arrays: list[Any]) -> list[Hashable | None]:
        """Return what arrays of one memory have in common; None for one on its own."""
        return [None] * len(arrays)


IMMUTABLE = "an immutable array"
