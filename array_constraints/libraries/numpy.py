"""NumPy: kernels and thresholds beside each other."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable
from typing import Any

import array_api_compat.numpy
import numpy

from array_constraints.libraries.block_sums import AtHand
from array_constraints.libraries.strided import by_stride, overlapping
from array_constraints.libraries.thresholds.numpy import NumpyThresholds
from array_constraints.numerics import subnormals
from array_constraints.numerics.bit_masks import unpacked
from array_constraints.numerics.formats import FORMATS
from array_constraints.typing import Array

_FLOAT64 = numpy.dtype(numpy.float64)
_SCRATCH, _STACKED = 2**15, 2**19  # entries in float64: what stays in the caches, 4 MiB


class Numpy(AtHand):
    """NumPy's arrays, and ml_dtypes' bfloat16 in them."""

    finding_thresholds = NumpyThresholds
    partial_from = 2**13  # below, one pass in float64 is faster
    at_hand_by_type = True

    def refused(self, w: Any) -> str | None:
        return refused(w)

    def array(self, w: Any) -> Any:
        """Return a scalar as a 0-d array, read-only: nobody could see what is written."""
        if hasattr(w, "__setitem__"):
            return w
        array = self.xp.asarray(w)
        array.flags.writeable = False
        return array

    @functools.cache  # noqa: B019 - NumPy makes the name anew: 2 us; there is one instance
    def name_of(self, dtype: Any) -> str:
        return str(dtype.name)

    def has_float64(self, w: Any) -> bool:
        return True  # no need to ask: 10 us per call

    def device(self, w: Any) -> Any:
        return "cpu"

    def bits(self, w: Any) -> Any:
        return bits(w)

    def negative(self, w: Any) -> Any:
        return negative(w, self)

    def without_negative(self, w: Any) -> Any:
        """Multiply bits in whatever order of bytes: numpy.where takes ten times as long."""
        return (w.view(f"i{w.dtype.itemsize}") * ~self.negative(w)).view(w.dtype)

    def comparable(self, w: Any) -> Any:
        """Widen half types: to compare them takes 60 times as long."""
        half = w.dtype.itemsize == 2 and self.name_of(w.dtype) in FORMATS
        return w.astype(numpy.float32) if half else w

    def clipped(self, w: Any, low: Any, high: Any) -> Any:
        """Let numpy.clip do it where it keeps signs of zeros: numpy.where takes long."""
        plain = w.dtype.itemsize > 2 and low != 0 != high and not subnormals.flushed()
        if not plain or w.dtype.kind != "f" or not w.ndim:
            return super().clipped(w, low, high)
        return numpy.clip(w, low, high)

    def booleans(self, text: str, shape: tuple[int, ...], like: Any) -> Any:
        return booleans(text, shape)

    def quiet(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return quiet(function)

    def at_hand(self, w: Any) -> bool:
        cls = type(w)
        known = cls is numpy.ndarray or cls is numpy.memmap
        return known and w.dtype.isnative and w.ndim > 0 and w.size > 0

    def memory_order(self, w: Any) -> tuple[int, ...] | None:
        return None if w.flags.c_contiguous else by_stride(w.strides)

    def empty_like(self, w: Any) -> Any:
        return numpy.empty_like(w, subok=False)

    def largest(self, x: Any) -> float:
        return float(numpy.maximum.reduce(x, None))

    def smallest(self, x: Any) -> float:
        return float(numpy.minimum.reduce(x, None))

    def number(self, x: float) -> Any:
        return x

    def sums_of_runs(self, x: Any, starts: Any) -> Any:
        """Return the sums of the runs of a row of numbers that begin at some indices."""
        return numpy.add.reduceat(x, starts)

    def kind_of(self, w: Any) -> Any:
        return w.dtype, w.shape, w.strides  # its memory stays

    def multiply(self, w: Any, factor: Any, out: Any) -> None:
        numpy.multiply(w, factor, out, casting="unsafe")  # ml_dtypes calls no cast a safe one

    def multiply_each(self, arrays: list[Any], factors: list[Any]) -> list[Any]:
        return [w * factor for w, factor in zip(arrays, factors, strict=True)]

    def rows_with_any(self, x: Any) -> list[bool]:
        found: list[bool] = x.reshape(x.shape[0], -1).any(axis=1).tolist()
        return found

    # numpy.sum along a leading axis adds one by one: 229,148 roundoffs at 2**20 entries; and it
    # makes an array of the squares first, and adds short rows one by one.

    def _sum_wide(self, x: Any, axes: tuple[int, ...], power: int) -> Any:
        v = x.astype(_FLOAT64)
        return numpy.add.reduce(v * v if power == 2 else abs(v), axes, None, None, True)

    def _sum_wide_each(self, arrays: list[Any], axes: tuple[int, ...], power: int) -> Any:
        shape = arrays[0].shape
        count = max(1, _SCRATCH // arrays[0].size)
        # Pages that are not touched cost nothing; and the C library keeps the memory of results
        # for the next call once it has seen a larger array being freed.
        scratch = numpy.empty((max(count, _STACKED // arrays[0].size), *shape))[:count]
        kept = tuple([1 if i in axes else n for i, n in enumerate(shape)])
        found = numpy.empty((len(arrays), *kept))
        inner = tuple([i + 1 for i in axes])
        for start in range(0, len(arrays), count):
            some = arrays[start : start + count]
            part = scratch[: len(some)]
            numpy.concatenate(some, out=part.reshape(-1, *shape[1:]))
            if power == 2:
                numpy.multiply(part, part, out=part)
            else:
                numpy.abs(part, out=part)
            stop = start + len(some)
            numpy.add.reduce(part, axis=inner, keepdims=True, out=found[start:stop])
        return found

    def _add_entries(self, x: Any, axes: tuple[int, ...]) -> Any:
        return numpy.add.reduce(x, axes, _FLOAT64, None, True)

    def _add_middle(self, x: Any) -> Any:
        """Widen into an array: once it was freed, glibc keeps memory for those of a block."""
        return numpy.einsum("nks->ns", x.astype(_FLOAT64, copy=False))

    def _add_in_parts(self, x: Any, power: int, wide: Any) -> Any:
        """Let einsum add squares, without an array of them; else in parts of 2**17 entries."""
        before, terms, behind = x.shape
        found = numpy.empty((before, behind), wide)
        if power == 2 and x.dtype == wide:
            return numpy.einsum("nks,nks->ns", x, x, out=found)
        most = min(max(x.size // 4, 2**14), 2**17)
        rows = min(max(1, most // (terms * behind)), before)
        columns = min(most // terms, behind)
        scratch = numpy.empty((rows, terms, columns), wide)
        for i in range(0, before, rows):
            for j in range(0, behind, columns):
                part = x[i : i + rows, :, j : j + columns]
                place = scratch[: part.shape[0], :, : part.shape[2]]
                _add_powers(part, power, place, found[i : i + rows, j : j + columns])
        return found

    # Rows are ranked by introselect, and a truth value is a byte.

    def number_of(self, mask: Any, axes: tuple[int, ...]) -> Any:
        return numpy.asarray(numpy.count_nonzero(mask, axis=axes, keepdims=True))

    def binned(self, places: Any, bins: int) -> Any:
        return numpy.bincount(places, minlength=bins)

    def kth_largest(self, magnitudes: Any, most: int) -> Any:
        at = magnitudes.shape[1] - most
        return numpy.partition(magnitudes, at, axis=1)[:, at : at + 1]

    def running_number(self, mask: Any) -> Any:
        return numpy.cumsum(mask, axis=1, dtype=numpy.int32 if mask.size < 2**31 else None)

    def unwritable(self, w: Any) -> str | None:
        flags = w.flags
        if not flags.writeable:
            return "a read-only array"
        return None if flags.c_contiguous else overlapping(w.shape, w.strides, w.itemsize)

    def memories(self, arrays: list[Any]) -> list[Hashable | None]:
        if all(w.base is None for w in arrays):  # no two arrays own the same memory
            return [None] * len(arrays)
        return [
            (w.__array_interface__["data"][0], w.dtype, w.shape, w.strides)
            if type(w) in (numpy.ndarray, numpy.memmap) and w.size
            else None
            for w in arrays
        ]


def _add_powers(x: Any, power: int, scratch: Any, out: Any) -> None:
    """Write the sums of powers of three dimensions over the second into ``out``."""
    if x.dtype != out.dtype:
        scratch[...] = x
        x = scratch
    if power == 2:
        numpy.einsum("nks,nks->ns", x, x, out=out)
        return
    terms = numpy.abs(x, out=scratch)
    if x.shape[2] < 64:  # numpy.add takes twice as long on the last dimension
        numpy.einsum("nks->ns", terms, out=out)
    else:
        numpy.add.reduce(terms, axis=1, out=out)  # in the same order, and faster here


def refused(w: Any) -> str | None:
    """Refuse masked arrays and matrices: subclasses that change what the operators mean."""
    if type(w) is numpy.ndarray:
        return None
    kinds = {cls.__name__ for cls in type(w).__mro__ if cls.__module__.startswith("numpy")}
    if not kinds & {"MaskedArray", "matrix"}:
        return None
    return "with operators of its own: pass numpy.asarray(w), masked entries filled first"


def booleans(text: str, shape: tuple[int, ...]) -> Any:
    """Return a mask from base64 of its bits, read-only: nothing is copied."""
    return numpy.frombuffer(unpacked(text, math.prod(shape)), bool).reshape(shape)


def bits(w: Any) -> Any:
    """Return the entries of an array as signed integers of the same bits."""
    return w.view(f"{w.dtype.byteorder.replace('|', '=')}i{w.dtype.itemsize}")


def negative(w: Any, library: Any) -> Array:
    """Return which entries are less than zero: by the bits, where they are flushed.

    Those of half types, too: to compare them takes 60 times as long.
    """
    weight = library.precision(w).weight
    if (weight.digits < 24 or subnormals.flushed()) and library.name_of(w.dtype) in FORMATS:
        told: Array = subnormals.negative(bits(w), weight.digits)
        return told
    found: Array = w < 0
    return found


@functools.cache  # to make a quiet function takes longer than to call it
def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function in which NumPy reports no roundoff, overflow or NaN: they are meant."""
    made: Callable[..., Any] = numpy.errstate(all="ignore")(function)
    return made


NUMPY = Numpy(array_api_compat.numpy)
