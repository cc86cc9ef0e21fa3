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

from array_constraints import _autograd, _in_memory, _writing
from array_constraints._formats import FORMATS, PRECISIONS, Precision
from array_constraints._in_memory import InMemory
from array_constraints._protocol import Array, Count, Namespace
from array_constraints._sums import Term, pairwise_sum, peak, plain_sum


def _reduced(block: Any, axis: tuple[int, ...], keepdims: bool, reduce: Any) -> Any:
    return reduce(block, axis, array_api_compat.array_namespace(block))


def _reduce_chunks(
    x: Array, axes: tuple[int, ...], reduce: Callable[[Any, tuple[int, ...], Any], Array]
) -> Array:
    """Reduce each chunk of a Dask array, then the results: one task per chunk and few more."""
    import dask.array

    chunk = functools.partial(_reduced, reduce=reduce)  # a closure would be pickled by value
    options = {"axis": axes, "keepdims": True, "dtype": x.dtype}
    return cast(Array, dask.array.reduction(x, chunk=chunk, aggregate=chunk, **options))


def _pairwise(block: Any, axes: tuple[int, ...], xp: Any) -> Array:
    return pairwise_sum(block, None, axes, xp)


def _chunkwise_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    return _reduce_chunks(term(x, scale), axes, _pairwise)


def _chunkwise_peak(x: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
    return _reduce_chunks(x, axes, peak)


def _run(function: Callable[..., Array], form: object, w: Array, xp: Namespace) -> Array:
    return function(form, w, xp)


def _with_float64() -> Any:
    """Let JAX make float64 arrays in this thread, for a while, as an accumulator."""
    import jax

    return jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


@functools.cache
def _jitted(function: Callable[..., Array]) -> Callable[..., Array]:
    import jax

    def call(form: object, w: Array, xp: Namespace, narrow: bool, shown: str) -> Array:
        return _narrowed(function(form, w, xp), narrow, xp)

    return cast(Callable[..., Array], jax.jit(call, static_argnums=(0, 2, 3, 4)))


def _narrowed(result: Array, narrow: bool, xp: Namespace) -> Array:
    float64 = narrow and dtype_name(result, xp) == "float64"
    return xp.astype(result, xp.float32) if float64 else result


def is_frozen(form: object) -> bool:
    """Whether a form's own class is a frozen dataclass: its fields then say all about it."""
    parameters = vars(type(form)).get("__dataclass_params__")
    try:
        hash(form)
    except TypeError:  # a list among its fields
        return False
    return parameters is not None and bool(parameters.frozen and parameters.eq)


def _run_jitted(function: Callable[..., Array], form: Any, w: Array, xp: Namespace) -> Array:
    """Run one cached ``jit``: for a frozen dataclass, whose value is that of its fields."""
    narrow = not sys.modules["jax"].config.jax_enable_x64
    with _with_float64()(True):
        if not is_frozen(form):
            return _narrowed(function(form, w, xp), narrow, xp)
        # 1, True and 1.0 are equal, not the same: their text tells them apart
        return _jitted(function)(form, w, xp, narrow, repr(form))


def mapped_at_once(constraint: Any, weights: Any, copy: bool | None) -> Any | None:
    """Return a pytree of JAX arrays mapped in one cached ``jit``; None for anything else."""
    jax = sys.modules.get("jax")
    if jax is None or not (copy is None or copy is True) or not is_frozen(constraint):
        return None
    leaves = jax.tree.leaves(weights)
    if not leaves or not all(isinstance(leaf, jax.Array) for leaf in leaves):
        return None
    return _jitted_map()(constraint, weights, repr(constraint))


@functools.cache
def _jitted_map() -> Callable[..., Any]:
    import jax

    def call(constraint: Any, weights: Any, shown: str) -> Any:
        return jax.tree.map(constraint, weights)

    return cast(Callable[..., Any], jax.jit(call, static_argnums=(0, 2)))


def _negative(w: Array, xp: Namespace) -> Array:
    return w < 0


def _negative_widened(w: Array, xp: Namespace) -> Array:
    return (accumulated(w, xp) if dtype_name(w, xp) == "bfloat16" else w) < 0


def _negative_by_bits(w: Any, xp: Any) -> Any:
    import jax

    if dtype_name(w, xp) not in FORMATS:
        return w < 0
    bits = jax.lax.bitcast_convert_type(w, f"int{8 * w.dtype.itemsize}")
    return (bits < 0) & (bits != xp.iinfo(bits.dtype).min) & ~xp.isnan(w)


def _where_not_negative(w: Array, xp: Namespace) -> Array:
    return xp.where(library(xp).negative(w, xp), xp.zeros_like(w), w)


def _by_bits(w: Any, xp: Any) -> Any:
    """Multiply the bits by 0 or 1: numpy.where takes ten times as long on mixed signs."""
    positive = ~_negative_widened(w, xp)
    return (w.view(f"i{w.dtype.itemsize}") * positive).view(w.dtype)


def _clamped(w: Any, xp: Any) -> Any:
    """Clamp: torch.where takes six times as long; but it changes the NaN of bfloat16."""
    return _where_not_negative(w, xp) if dtype_name(w, xp) == "bfloat16" else w.clamp(min=0)


def _stated_to_jax(value: Any, derivative: Any, w: Any) -> Any:
    """Differentiate the derivative alone: where none is asked, XLA sees the value alone."""
    import jax

    def both(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        with _with_float64()(True):  # a loop is differentiated after the call that traced it
            return mapped(*primals), derivative(*primals, *tangents)

    mapped: Any = jax.custom_jvp(value)
    mapped.defjvp(both)
    return mapped(w)


def _fused_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    """Sum pairwise over so many slices that the first partial sums take 1/32 of ``x``."""
    ratio = getattr(xp, precision(x, xp).accumulator.name).dtype.itemsize // x.dtype.itemsize
    return pairwise_sum(x, scale, axes, xp, term, ways=32 * ratio)


def _fused_spare_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    """Sum in float64 in one loop, as XLA on CPUs does it fastest.

    It would convert float16 as a whole; over several dimensions it is twice as slow as over
    one; and it reads long rows column by column.
    """
    if dtype_name(x, xp) == "float16":
        return _fused_sum(x, scale, axes, xp, term)
    shape = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
    if len(axes) > 1 and axes == tuple(range(len(axes))):
        x, axes = xp.reshape(x, (-1, *x.shape[len(axes) :])), (0,)
    if 0 in axes and x.shape[0] >= 2 * _ROWS and math.prod(x.shape) >= 2**23:
        return xp.reshape(_rowwise_sum(x, axes, xp, term), shape)
    return xp.reshape(plain_sum(x, scale, axes, xp, term), shape)


_ROWS = 64


def _rowwise_sum(x: Any, axes: tuple[int, ...], xp: Namespace, term: Term) -> Array:
    import jax

    def add(i: Any, total: Any) -> Any:
        rows = jax.lax.dynamic_slice_in_dim(x, i * _ROWS, _ROWS)
        return total + plain_sum(rows, None, axes, xp, term)

    count = x.shape[0] // _ROWS
    total = plain_sum(x[count * _ROWS :, ...], None, axes, xp, term)
    return cast(Array, jax.lax.fori_loop(0, count, jax.checkpoint(add), total))


def _barrier(w: Any) -> Any:
    import jax

    return jax.lax.optimization_barrier(w)


def _name_of(dtype: Any) -> str:
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def _numpy_refused(w: Any) -> str | None:
    if type(w).__name__ == "ndarray" and type(w).__module__ == "numpy":
        return None
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
    without_negative: Callable[[Any, Any], Array] = lambda w, xp: _where_not_negative(w, xp)
    differentiated: Callable[[Any, Any, Any], Array] = lambda value, derivative, w: value(w)
    reread: Callable[[Any], Any] = lambda w: w
    run: Callable[..., Array] = _run
    refused: Callable[[Any], str | None] = lambda w: None
    array: Callable[[Any], Any] = lambda w: w
    name_of: Callable[[Any], str] = _name_of
    in_memory: InMemory | None = None
    copied: Callable[[Any, Namespace], Any] = lambda w, xp: xp.asarray(w, copy=True)
    unwritable: Callable[[Any], str | None] = lambda w: None
    write: Callable[[Any, Any], None] = _writing.assign


NUMPY = Library(
    # sum: numpy.sum along a leading axis adds one by one: 229,148 roundoffs at 2**20 entries.
    has_float64=lambda w, xp: True,  # no need to ask: 10 us per call
    negative=_negative_widened,  # ml_dtypes warns when it compares a NaN of bfloat16
    without_negative=_by_bits,
    # Masked arrays and matrices are subclasses that change what the operators mean.
    refused=_numpy_refused,
    array=_numpy_array,
    unwritable=_writing.numpy_unwritable,
    name_of=functools.cache(lambda dtype: str(dtype.name)),  # numpy makes it anew: 2 us
    in_memory=InMemory(
        _in_memory.numpy_holds,
        partial_from=2**13,
        squares=_in_memory.numpy_squares,
        largest=lambda x: float(x.max()),
        smallest=lambda x: float(x.min()),
        number=float,
        multiply=_in_memory.numpy_multiply,
        multiply_each=_in_memory.numpy_multiply_each,
        rows_other_than_one=_in_memory.numpy_rows_other_than_one,
        memory_order=_in_memory.numpy_memory_order,
        empty_like=_in_memory.numpy_empty_like,
        # numpy.sum makes an array of the squares first, and adds short rows one by one.
        sum_middle=_in_memory.numpy_sum_middle,
        sum_squares_middle=_in_memory.numpy_sum_squares_middle,
    ),
)
LIBRARIES = {
    "numpy": NUMPY,
    "array_api_compat.numpy": NUMPY,
    "array_api_compat.torch": Library(
        # torch.sum adds in a cascade: up to 257 roundoffs at 2**22 entries, enough only where
        # the accumulator has spare digits; there it is one pass instead of log2 n.
        spare_sum=plain_sum,
        has_float64=lambda w, xp: w.device.type != "mps",  # Metal has no float64
        without_negative=_clamped,
        differentiated=_autograd.stated,
        refused=_torch_refused,
        unwritable=_writing.torch_unwritable,
        copied=lambda w, xp: w.clone(),  # asarray(copy=True) would leave the graph
        write=_writing.torch_write,
        in_memory=InMemory(
            _in_memory.torch_holds,
            partial_from=2**15,
            squares=_in_memory.torch_squares,
            largest=lambda x: float(x.max()),
            smallest=lambda x: float(x.min()),
            # A Python number is made a tensor at each call.
            number=_in_memory.torch_number,
            multiply=_in_memory.torch_multiply,
            sum_squares_middle=_in_memory.torch_sum_squares_middle,
            sum_middle=_in_memory.torch_sum_middle,
            multiply_each=_in_memory.torch_multiply_each,
            rows_other_than_one=_in_memory.torch_rows_other_than_one,
            memory_order=_in_memory.torch_memory_order,
            empty_like=_in_memory.torch_empty_like,
        ),
    ),
    "jax.numpy": Library(
        # XLA adds in windows of 32: up to 240 roundoffs at 2**22 entries. A tree over many
        # slices at a time is fused into one loop; over 2 at a time it would keep half of w.
        sum=_fused_sum,
        spare_sum=_fused_spare_sum,
        # Without the barrier XLA keeps the float64 copy of a bfloat16 weight between two reads.
        reread=_barrier,
        # A call has float64 while it runs; a measure made outside of one only with x64.
        has_float64=lambda w, xp: bool(sys.modules["jax"].config.jax_enable_x64),
        # XLA on CPUs compares subnormal numbers as zeros.
        negative=_negative_by_bits,
        differentiated=_stated_to_jax,
        # One dispatch instead of thirty, and eager results equal jitted ones. float64 within:
        # a sum in float32 that is as accurate needs a tree of additions, 4 to 13 times as long.
        run=_run_jitted,
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
    if type(w) in _NAMESPACES:
        return _NAMESPACES[type(w)]
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(w, torch.Tensor):
        import array_api_compat.torch as xp
    else:
        xp = array_api_compat.array_namespace(w)
    _NAMESPACES[type(w)] = xp
    return cast(Namespace, xp)


_NAMESPACES: dict[type, Namespace] = {}  # asking takes a microsecond


def in_memory(w: Any, xp: Namespace) -> InMemory | None:
    """Return how to work on ``w`` where it is at hand, in the memory of the processor."""
    found = library(xp).in_memory
    return found if found is not None and found.holds(w) else None


def dtype_name(w: Array, xp: Namespace) -> str:
    return library(xp).name_of(w.dtype)


def compiling() -> bool:
    """Whether ``torch.compile`` traces this: it does not see through tables and caches."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def device(w: Any) -> Any:
    return getattr(w, "device", None)  # Dask has none


def precision(w: Array, xp: Namespace) -> Precision:
    """Return the format of ``w`` (float64 for integers) and that of its accumulator."""
    widest = "float64" if library(xp).has_float64(w, xp) else "float32"
    name = dtype_name(w, xp)
    return PRECISIONS[name if name in FORMATS else widest, widest]


def accumulated(w: Array, xp: Namespace) -> Array:
    """Return ``w`` in the dtype of its accumulator: float64 where there is one."""
    return xp.astype(w, getattr(xp, precision(w, xp).accumulator.name), copy=False)


def count_entries(block: Array, axes: tuple[int, ...], xp: Namespace) -> Count:
    """Return how many entries of ``block`` each slice along ``axes`` has.

    The standard writes None for a length that is unknown before computing, and Dask NaN.
    """
    entries = 1
    for i in axes:
        n = block.shape[i]
        if n is None or n != n:
            return xp.sum(xp.ones_like(accumulated(block, xp)), axis=axes, keepdims=True)
        entries *= int(n)
    return entries  # an int: torch.compile then knows it, and margins depend on it
