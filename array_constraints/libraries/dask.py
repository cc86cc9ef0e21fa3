"""Dask arrays as one lazy expression: a task for each chunk of a sum, and one to rescale it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

import array_api_compat.dask.array
import dask.array
import numpy
from array_api_compat import array_namespace

from array_constraints.libraries import dask_rounds
from array_constraints.libraries.base import IMMUTABLE, Library
from array_constraints.libraries.numpy import booleans, negative, refused
from array_constraints.numerics import signed_sums
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.inner_products import InnerProduct
from array_constraints.numerics.moments import Moments
from array_constraints.numerics.signed_sums import SignedSum
from array_constraints.numerics.sums import (
    Sum,
    Term,
    largest_magnitude,
    pairwise_sum,
    power_of_two,
)
from array_constraints.typing import Array

Reduce = Callable[[Any, tuple[int, ...], Any], Array]


class Dask(Library):
    """Dask's arrays, whatever library their chunks are of."""

    def refused(self, w: Any) -> str | None:
        return refused(w._meta)

    def has_float64(self, w: Any) -> bool:
        return True  # that of its chunks, which cannot be asked

    def negative(self, w: Any) -> Array:
        """Ask for one dimension at least: dask.array.view fails without."""
        return negative(w, self) if w.ndim else negative(w[None], self)[0]

    def booleans(self, text: str, shape: tuple[int, ...], like: Any) -> Any:
        return dask.array.asarray(booleans(text, shape))

    def largest_magnitude(self, x: Array, axes: tuple[int, ...]) -> Array:
        return _reduced(x, axes, largest_magnitude)  # dask.array.max fails on an empty chunk

    def scale(self, peak: Array, precision: Precision) -> Array:
        """Compute it in each chunk at once: one layer of the graph, not fifteen."""
        made: Any = peak
        chunk = functools.partial(_scale, precision=precision)
        options = {"dtype": made.dtype, "meta": made._meta}
        return cast(Array, dask.array.map_blocks(chunk, made, **options))

    def _add(self, x: Array, scale: Array | None, axes: tuple[int, ...], term: Term) -> Array:
        """Add chunk by chunk: halves would be n log n tasks, and need known chunks."""
        return _reduced(term(x, scale), axes, _pairwise)

    def by_entry(self, function: Callable[..., Any], form: Any, w: Any) -> Any:
        """Compute in each chunk at once; chunks whose borders part groups are cut otherwise."""
        groups = form.groups(w.ndim)
        whole = (
            w.rechunk(_between_groups(w.chunks, groups)) if max(groups, default=1) > 1 else w
        )
        chunk = functools.partial(_of_part, function, form, w.shape)
        nothing = [{"array-location": [(0, 0)] * w.ndim}]
        meta = _of_part(function, form, w.shape, w._meta, nothing)
        found = dask.array.map_blocks(chunk, whole, dtype=meta.dtype, meta=meta)
        return found.rechunk(w.chunks) if whole is not w else found

    def by_whole_slice(
        self,
        function: Callable[..., Any],
        form: Any,
        w: Any,
        axes: tuple[int, ...],
        reduced: bool = False,
    ) -> Any:
        """Compute in each chunk at once; slices that cross chunks are brought into one."""
        whole = w.rechunk({i: -1 for i in axes if w.numblocks[i] > 1})
        chunk = functools.partial(_of_part, function, form, w.shape, axes=axes)
        if reduced:
            chunks = [(1,) if i in axes else lengths for i, lengths in enumerate(w.chunks)]
            wide = w._meta.astype("float64")
            return dask.array.map_blocks(chunk, whole, chunks=chunks, dtype=float, meta=wide)
        found = dask.array.map_blocks(chunk, whole, dtype=w.dtype, meta=w._meta)
        return found.rechunk(w.chunks)

    def sum_in_pairs(self, x: Any, axes: tuple[int, ...], factor: Any = None) -> Any:
        """Add chunk by chunk; a pair is a complex number on its way."""
        if factor is not None:
            meta = numpy.empty((0,) * x.ndim, dtype="complex128")
            factor = _in_chunks_of(x, factor)
            x = dask.array.map_blocks(_products, x, factor, dtype=meta.dtype, meta=meta)
        found: Any = _reduced(x, axes, _in_pairs, "complex128")
        return found.real, found.imag

    def by_slice(self, method: Callable[..., Array], measure: Any, *blocks: Array) -> Array:
        """Compute in each chunk at once, not step by step: one task for each, not fifty."""
        if not _is_of_numbers(method, measure, len(blocks)):
            return super().by_slice(method, measure, *blocks)
        lazy = [x for x in _leaves(measure) if hasattr(x, "chunks")]
        like: Any = (*blocks, *lazy)[0]
        blocks = tuple(_in_chunks_of(like, block) for block in blocks)
        if len(blocks) and not any(n != n for n in like.shape):  # measures of several arrays
            lazy = [_in_chunks_of(like, x) for x in lazy]
        chunk = functools.partial(_of_slices, method, _filled(measure, None), len(blocks))
        arrays = (*blocks, *lazy)
        return cast(
            Array, dask.array.map_blocks(chunk, *arrays, dtype=like.dtype, meta=like._meta)
        )

    def in_rounds(self, form: Any, w: Any, axes: tuple[int, ...]) -> Any:
        """Measure chunk by chunk, in as many rounds as ``form`` says."""
        return dask_rounds.projected(form, w, axes)

    def excess_in_rounds(self, form: Any, w: Any, axes: tuple[int, ...]) -> Any:
        return dask_rounds.excess(form, w, axes, self.accumulated(w))

    def unwritable(self, w: Any) -> str | None:
        return IMMUTABLE


def _of_part(
    function: Callable[..., Any],
    form: Any,
    shape: tuple[int, ...],
    block: Any,
    block_info: Any = None,
    axes: tuple[int, ...] = (),
) -> Any:
    """Call a function of a form on the part of an array of that shape."""
    if block_info and not any(n != n for n in shape):  # else chunks are of unknown size
        part = [slice(*borders) for borders in block_info[0]["array-location"]]
        form = form.for_part(shape, axes, tuple(part))
    with numpy.errstate(all="ignore"):
        return function(form, block, array_namespace(block))


def _between_groups(
    chunks: tuple[tuple[int, ...], ...], groups: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """Return chunks like these whose borders part no groups of entries."""
    found = []
    for lengths, group in zip(chunks, groups, strict=True):
        stops = [-(-stop // group) * group for stop in itertools.accumulate(lengths)]
        ends = sorted({0, sum(lengths)} | {stop for stop in stops if stop < sum(lengths)})
        found.append(tuple(b - a for a, b in itertools.pairwise(ends)) or lengths)
    return tuple(found)


def _is_of_numbers(method: Any, measure: Any, blocks: int) -> bool:
    """Whether slices differ in nothing but their measure: bounds and lengths are numbers.

    A vector that all slices have in common is a block beside the first.
    """
    known = isinstance(measure, Sum | SignedSum | Moments | InnerProduct)
    if not known or not isinstance(measure.entries, int):
        return False
    form = getattr(method, "__self__", None)
    if form is None:  # a function of one of these
        return not isinstance(measure, Sum)
    if isinstance(measure, Sum):
        bounds = form.interval() if form.needs == "sizes" else (None,)
    else:
        vector = isinstance(measure, InnerProduct) and blocks != 1
        common = ("axis", "normal") if vector else ("axis",)
        bounds = [value for name, value in vars(form).items() if name not in common]
    return all(isinstance(bound, int | float) for bound in bounds)


def _in_chunks_of(x: Any, block: Any) -> Any:
    """Return an array that broadcasts against another, cut where that is cut."""
    borders = {i: x.chunks[i] for i in range(x.ndim) if block.shape[i] != 1}
    if all(block.chunks[i] == borders[i] for i in borders):
        return block
    return block.rechunk(borders)


def _leaves(measure: Any) -> Iterator[Any]:
    """Yield what a measure is made of, in the order of its fields."""
    for x in measure:
        if hasattr(x, "_fields"):
            yield from _leaves(x)
        else:
            yield x


def _filled(measure: Any, arrays: Iterator[Any] | None) -> Any:
    """Return a measure with the next of some arrays for each lazy one; first, with a place."""
    found: dict[str, Any] = {}
    for name, x in measure._asdict().items():
        if hasattr(x, "_fields"):
            found[name] = _filled(x, arrays)
        elif arrays is None and hasattr(x, "chunks"):
            found[name] = _PLACE
        elif arrays is not None and isinstance(x, str) and x == _PLACE:
            found[name] = next(arrays)
    return measure._replace(**found)


_PLACE = "an array"


def _of_slices(method: Callable[..., Array], measure: Any, blocks: int, *arrays: Any) -> Array:
    """Call a method of a form on a chunk, and on the parts of a measure that are for it."""
    values = arrays[blocks:]
    with numpy.errstate(all="ignore"):
        whole = _filled(measure, iter(values))
        return method(*arrays[:blocks], whole, array_namespace(*values))


def _scale(peak: Any, precision: Precision) -> Array:
    return power_of_two(peak, precision, array_namespace(peak))


def _reduced(x: Array, axes: tuple[int, ...], reduce: Reduce, dtype: Any = None) -> Array:
    """Reduce each chunk of a Dask array, then the results."""
    chunk = functools.partial(_of_chunk, reduce=reduce)  # a closure would be pickled by value
    options = {"axis": axes, "keepdims": True, "dtype": dtype or x.dtype}
    return cast(Array, dask.array.reduction(x, chunk=chunk, aggregate=chunk, **options))


def _of_chunk(block: Any, axis: tuple[int, ...], keepdims: bool, reduce: Reduce) -> Array:
    with numpy.errstate(invalid="ignore"):  # a difference of infinities
        return reduce(block, axis, array_namespace(block))


def _pairwise(block: Any, axes: tuple[int, ...], xp: Any) -> Array:
    return pairwise_sum(block, None, axes, xp)


def _in_pairs(block: Any, axes: tuple[int, ...], xp: Any) -> Array:
    error = None
    if block.dtype == xp.complex128:
        block, error = block.real, block.imag
    return _complex(*signed_sums.sum_in_pairs(block, error, axes, xp), xp)


def _products(block: Any, factor: Any) -> Array:
    with numpy.errstate(invalid="ignore"):
        return _complex(*signed_sums.products(block, factor, 53), array_namespace(block))


def _complex(high: Any, low: Any, xp: Any) -> Array:
    found: Any = xp.asarray(high).astype("complex128")
    found.imag = low  # not high + 1j * low, which is NaN where low is infinite
    return cast(Array, found)


DASK = Dask(array_api_compat.dask.array)
