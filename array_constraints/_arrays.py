"""All that is known about array libraries: the only importer of array_api_compat.

The table :data:`LIBRARIES` is the only place keyed by library: what a library needs beyond the
functions of the standard, with the reason beside the line or in the function it names.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import array_api_compat

from array_constraints import _writing
from array_constraints._formats import FORMATS, Precision
from array_constraints._protocol import Array, Count, Namespace
from array_constraints._sums import Term, pairwise_sum, peak, plain_sum


def _reduce_chunks(
    x: Array, axes: tuple[int, ...], reduce: Callable[[Any, tuple[int, ...], Any], Array]
) -> Array:
    """Reduce each chunk of a Dask array, then the results: one task per chunk and few more."""
    import dask.array

    def chunk(block: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        return reduce(block, axis, array_api_compat.array_namespace(block))

    options = {"axis": axes, "keepdims": True, "dtype": x.dtype}
    return cast(Array, dask.array.reduction(x, chunk=chunk, aggregate=chunk, **options))


def _chunkwise_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    return _reduce_chunks(
        term(x, scale), axes, lambda block, axis, xp: pairwise_sum(block, None, axis, xp)
    )


def _chunkwise_peak(x: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
    return _reduce_chunks(x, axes, peak)


def _run(function: Callable[..., Array], form: object, w: Array, xp: Namespace) -> Array:
    return function(form, w, xp)


@functools.cache
def _jitted(function: Callable[..., Array]) -> Callable[..., Array]:
    import jax

    def call(form: object, w: Array, xp: Namespace, shown: str) -> Array:
        return function(form, w, xp)

    return cast(Callable[..., Array], jax.jit(call, static_argnums=(0, 2, 3)))


def _run_jitted(function: Callable[..., Array], form: Any, w: Array, xp: Namespace) -> Array:
    """Run one cached ``jit``: for a frozen dataclass, whose value is that of its fields."""
    parameters = getattr(type(form), "__dataclass_params__", None)
    try:
        hash(form)
    except TypeError:  # a list among its fields
        return function(form, w, xp)
    if parameters is None or not parameters.frozen or not parameters.eq:
        return function(form, w, xp)
    return _jitted(function)(form, w, xp, repr(form))  # 1, True and 1.0 are equal, not the same


def _negative(w: Array, xp: Namespace) -> Array:
    return w < 0


def _negative_widened(w: Array, xp: Namespace) -> Array:
    return (accumulated(w, xp) if dtype_name(w) == "bfloat16" else w) < 0


def _negative_by_bits(w: Any, xp: Any) -> Any:
    import jax

    if dtype_name(w) not in FORMATS:
        return w < 0
    bits = jax.lax.bitcast_convert_type(w, f"int{8 * w.dtype.itemsize}")
    return (bits < 0) & (bits != xp.iinfo(bits.dtype).min) & ~xp.isnan(w)


def _detached(value: Any, surrogate: Any) -> Any:
    return value.detach() + (surrogate - surrogate.detach())


def _stopped(value: Any, surrogate: Any) -> Any:
    import jax

    return jax.lax.stop_gradient(value) + (surrogate - jax.lax.stop_gradient(surrogate))


def _fused_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    """Sum pairwise over so many slices that the first partial sums take 1/32 of ``x``."""
    ratio = getattr(xp, precision(x, xp).accumulator.name).dtype.itemsize // x.dtype.itemsize
    return pairwise_sum(x, scale, axes, xp, term, ways=32 * ratio)


def _fused_spare_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    """As above, but XLA on CPUs converts all of a bfloat16 array before it slices it."""
    add = plain_sum if dtype_name(x) == "bfloat16" else _fused_sum
    return add(x, scale, axes, xp, term)


def _barrier(w: Any) -> Any:
    import jax

    return jax.lax.optimization_barrier(w)


def _numpy_refused(w: Any) -> str | None:
    kinds = {cls.__name__ for cls in type(w).__mro__ if cls.__module__.startswith("numpy")}
    if not kinds & {"MaskedArray", "matrix"}:
        return None
    return "with operators of its own: pass numpy.asarray(w), masked entries filled first"


def _numpy_array(w: Any) -> Any:
    """Return a NumPy scalar as a 0-d array, read-only: nobody could see what is written."""
    if hasattr(w, "__setitem__"):
        return w
    array = array_api_compat.array_namespace(w).asarray(w)
    array.flags.writeable = False
    return array


def _torch_refused(w: Any) -> str | None:
    import torch

    dense = w.layout is torch.strided
    return None if dense else f"of layout {w.layout}: make it dense first"


@dataclass(frozen=True)
class Library:
    """What must be known about one array library beyond the standard, and how it is used."""

    sum: Callable[..., Array] = pairwise_sum
    spare_sum: Callable[..., Array] = pairwise_sum
    peak: Callable[..., Array] = peak
    has_float64: Callable[[Any, Any], bool] = lambda w, xp: (
        "float64" in xp.__array_namespace_info__().dtypes(device=w.device)
    )
    negative: Callable[[Array, Namespace], Array] = _negative
    differentiates: bool = False
    straight_through: Callable[[Any, Any], Array] = lambda value, surrogate: value
    reread: Callable[[Any], Any] = lambda w: w
    run: Callable[..., Array] = _run
    refused: Callable[[Any], str | None] = lambda w: None
    array: Callable[[Any], Any] = lambda w: w
    copied: Callable[[Any, Namespace], Any] = lambda w, xp: xp.asarray(w, copy=True)
    unwritable: Callable[[Any], str | None] = lambda w: None
    write: Callable[[Any, Any], None] = _writing.assign


NUMPY = Library(
    # sum: numpy.sum along a leading axis adds one by one: 229,148 roundoffs at 2**20 entries.
    has_float64=lambda w, xp: True,  # no need to ask: 10 us per call
    negative=_negative_widened,  # ml_dtypes warns when it compares a NaN of bfloat16
    # Masked arrays and matrices are subclasses that change what the operators mean.
    refused=_numpy_refused,
    array=_numpy_array,
    unwritable=_writing.numpy_unwritable,
)
LIBRARIES = {
    "numpy": NUMPY,
    "array_api_compat.numpy": NUMPY,
    "array_api_compat.torch": Library(
        # torch.sum adds in a cascade: up to 257 roundoffs at 2**22 entries, enough only where
        # the accumulator has spare digits; there it is one pass instead of log2 n.
        spare_sum=plain_sum,
        has_float64=lambda w, xp: w.device.type != "mps",  # Metal has no float64
        # Autograd sees the value that is kept: its derivative comes from the rescaling.
        differentiates=True,
        straight_through=_detached,
        refused=_torch_refused,
        unwritable=_writing.torch_unwritable,
        copied=lambda w, xp: w.clone(),  # asarray(copy=True) would leave the graph
        write=_writing.torch_write,
    ),
    "jax.numpy": Library(
        # XLA adds in windows of 32: up to 240 roundoffs at 2**22 entries. A tree over many
        # slices at a time is fused into one loop; over 2 at a time it would keep half of w.
        sum=_fused_sum,
        spare_sum=_fused_spare_sum,
        # Without the barrier XLA keeps the float64 copy of a bfloat16 weight between two reads.
        reread=_barrier,
        # Without x64, astype(..., float64) warns and returns float32.
        has_float64=lambda w, xp: bool(sys.modules["jax"].config.jax_enable_x64),
        # XLA on CPUs compares subnormal numbers as zeros.
        negative=_negative_by_bits,
        differentiates=True,
        straight_through=_stopped,
        run=_run_jitted,  # one dispatch instead of thirty, and eager results equal jitted ones
        unwritable=_writing.always_unwritable,
    ),
    "array_api_compat.dask.array": Library(
        # Slicing a Dask array in halves makes a graph of n log n tasks, and needs known chunks.
        sum=_chunkwise_sum,
        spare_sum=_chunkwise_sum,
        peak=_chunkwise_peak,  # dask.array.max fails on an empty chunk
        has_float64=lambda w, xp: True,  # that of its chunks, which cannot be asked
        negative=_negative_widened,
        refused=lambda w: _numpy_refused(w._meta),
        unwritable=_writing.always_unwritable,
    ),
    "sparse": Library(refused=lambda w: "stored sparsely: make it dense first"),
}
_STANDARD = Library()  # array-api-strict, CuPy, any conforming library: the standard alone


def library(xp: Namespace) -> Library:
    return LIBRARIES.get(xp.__name__, _STANDARD)


def namespace(w: Any) -> Namespace:
    """Return the array API namespace of ``w``, or raise TypeError.

    ``array_api_compat.array_namespace`` is asked, but not for torch: where ``torch.compile``
    traces the cache of that function, it warns.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(w, torch.Tensor):
        import array_api_compat.torch as xp
    else:
        xp = array_api_compat.array_namespace(w)
    return cast(Namespace, xp)


def dtype_name(w: Array) -> str:
    return getattr(w.dtype, "name", None) or str(w.dtype).rpartition(".")[2]


def device(w: Any) -> Any:
    return getattr(w, "device", None)  # Dask has none


def precision(w: Array, xp: Namespace) -> Precision:
    """Return the format of ``w`` (float64 for integers) and that of its accumulator."""
    widest = "float64" if library(xp).has_float64(w, xp) else "float32"
    return Precision(FORMATS.get(dtype_name(w), FORMATS[widest]), FORMATS[widest])


def accumulated(w: Array, xp: Namespace) -> Array:
    """Return ``w`` in the dtype of its accumulator: float64 where there is one."""
    return xp.astype(w, getattr(xp, precision(w, xp).accumulator.name), copy=False)


def count_entries(block: Array, axes: tuple[int, ...], xp: Namespace) -> Count:
    """Return how many entries of ``block`` each slice along ``axes`` has.

    The standard writes None for a length that is unknown before computing, and Dask NaN.
    """
    lengths = [block.shape[i] for i in axes]
    if any(n is None or n != n for n in lengths):
        return xp.sum(xp.ones_like(accumulated(block, xp)), axis=axes, keepdims=True)
    return int(math.prod(lengths))  # torch.compile then knows it: margins depend on it
