"""All that is known about array libraries: the only importer of array_api_compat.

The table :data:`LIBRARIES` is the only place keyed by library: what a library needs beyond the
functions of the standard, with the reason beside the line or in the function it names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, cast

import array_api_compat

from array_constraints import _autograd, _in_memory, _jax, _torch, _writing
from array_constraints._in_memory import InMemory
from array_constraints.numerics import subnormals
from array_constraints.numerics.formats import FORMATS, PRECISIONS, Precision
from array_constraints.numerics.sums import Term, pairwise_sum, peak
from array_constraints.typing import Array, Count, Namespace


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


def _run(function: Callable[..., Array], form: object, w: Any, xp: Namespace) -> Array:
    return function(form, w, xp)


def is_constant(form: object) -> bool:
    """Whether a form never changes: a frozen dataclass whose fields are plain values.

    Nothing else is kept in it, and no field is an object with a state of its own. Only such
    forms are compiled or remembered.
    """
    return state_of(form) is not None


def state_of(form: Any) -> Hashable | None:
    """Return all that a form keeps, to tell it from any other; None if that may change."""
    cls = type(form)
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not (parameters.frozen and parameters.eq):
        return None
    names = [field.name for field in dataclasses.fields(form)]
    slots = (vars(base).get("__slots__", ()) for base in cls.__mro__)
    kept = {name for some in slots for name in ((some,) if isinstance(some, str) else some)}
    kept |= getattr(form, "__dict__", {}).keys()
    cached = {
        name
        for name in kept
        if isinstance(getattr(cls, name, None), functools.cached_property)
        and _state_of_value(getattr(form, name)) is not None
    }
    if kept - cached - {*names, "__dict__", "__weakref__"}:
        return None
    states = [_state_of_value(getattr(form, name)) for name in names]
    return None if None in states else (cls, *states)


def _state_of_value(value: Any) -> Hashable | None:
    """Return a value and its type, as 1, True and 1.0 differ; None if it may change."""
    kind = type(value)
    if kind is tuple:
        states = [_state_of_value(entry) for entry in value]
        return None if None in states else (kind, *states)
    scalar = kind.__module__ == "numpy" and not hasattr(kind, "__setitem__")
    if scalar or kind in (bool, int, float, complex, str, bytes, type(None)):
        return kind, repr(value)
    return (kind, value.name) if isinstance(value, enum.Enum) else state_of(value)


def _run_jitted(function: Callable[..., Array], form: Any, w: Any, xp: Namespace) -> Array:
    state = "nothing" if form is None else state_of(form)
    return _jax.run(function, form, w, xp, state)


def mapped_at_once(constraint: Any, weights: Any, copy: bool | None) -> Any | None:
    """Return a pytree of JAX arrays mapped in few compiled calls; None for anything else."""
    if not (copy is None or copy is True) or compiling():
        return None
    state = state_of(constraint)
    return None if state is None else _jax.mapped_at_once(constraint, weights, state)


def _negative(w: Array, xp: Namespace) -> Array:
    return w < 0


def _negative_widened(w: Any, xp: Any) -> Any:
    if subnormals.flushed() and dtype_name(w, xp) in FORMATS:
        return subnormals.negative(subnormals.numpy_bits(w), xp.isnan(w))
    return (accumulated(w, xp) if dtype_name(w, xp) == "bfloat16" else w) < 0


def _ignoring(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function in which NumPy reports no roundoff, overflow or NaN: they are meant."""
    import numpy

    return cast(Callable[..., Any], numpy.errstate(all="ignore")(function))


@functools.cache  # to make a quiet function takes longer than to call it
def _made_quiet(quiet: Any, function: Any) -> Callable[..., Any]:
    return cast(Callable[..., Any], quiet(function))


def _where_not_negative(w: Array, xp: Namespace) -> Array:
    return xp.where(library(xp).negative(w, xp), xp.zeros_like(w), w)


def _by_bits(w: Any, xp: Any) -> Any:
    """Multiply the bits by 0 or 1: numpy.where takes ten times as long on mixed signs."""
    positive = ~_negative_widened(w, xp)
    return (w.view(f"i{w.dtype.itemsize}") * positive).view(w.dtype)


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
    ignoring: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    bits: Callable[[Any], Any] | None = None
    memories: Callable[[list[Any]], list[Any]] = lambda arrays: [None] * len(arrays)
    refused: Callable[[Any], str | None] = lambda w: None
    array: Callable[[Any], Any] = lambda w: w
    device_of_constants: Callable[[Any], Any] = lambda like: getattr(like, "device", None)
    beside: Callable[[Any, Any], Array] = lambda array, like: array
    name_of: Callable[[Any], str] = _name_of
    in_memory: InMemory | None = None
    copied: Callable[[Any, Namespace], Any] = lambda w, xp: xp.asarray(w, copy=True)
    unwritable: Callable[[Any], str | None] = lambda w: None
    write: Callable[[Any, Any], None] = _writing.assign

    def quiet(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of a module in which the library reports no roundoff."""
        return function if self.ignoring is None else _made_quiet(self.ignoring, function)


NUMPY = Library(
    # sum: numpy.sum along a leading axis adds one by one: 229,148 roundoffs at 2**20 entries.
    has_float64=lambda w, xp: True,  # no need to ask: 10 us per call
    negative=_negative_widened,  # ml_dtypes warns when it compares a NaN of bfloat16
    without_negative=_by_bits,
    ignoring=_ignoring,
    bits=subnormals.numpy_bits,
    memories=_writing.numpy_memories,
    # Masked arrays and matrices are subclasses that change what the operators mean.
    refused=_numpy_refused,
    array=_numpy_array,
    unwritable=_writing.numpy_unwritable,
    name_of=functools.cache(lambda dtype: str(dtype.name)),  # numpy makes it anew: 2 us
    in_memory=InMemory(
        _in_memory.numpy_holds,
        by_type=True,
        partial_from=2**13,
        squares=_in_memory.numpy_squares,
        squares_each=_in_memory.numpy_squares_each,
        largest=lambda x: float(x.max()),
        smallest=lambda x: float(x.min()),
        number=float,
        multiply=_in_memory.numpy_multiply,
        multiply_each=_in_memory.numpy_multiply_each,
        rows_with_any=_in_memory.numpy_rows_with_any,
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
        sum=_torch.tree_sum,
        spare_sum=_torch.library_sum,
        peak=_torch.peak,
        beside=_torch.beside,
        run=_torch.run,
        has_float64=lambda w, xp: w.device.type != "mps",  # Metal has no float64
        negative=_torch.negative,
        without_negative=_torch.clamped,
        bits=subnormals.torch_bits,
        memories=_writing.torch_memories,
        differentiated=_autograd.stated,
        refused=_torch.refused,
        unwritable=_writing.torch_unwritable,
        copied=lambda w, xp: w.clone(),  # asarray(copy=True) would leave the graph
        write=_writing.torch_write,
        in_memory=InMemory(
            _in_memory.torch_holds,
            by_type=False,
            partial_from=2**15,
            squares=_in_memory.torch_squares,
            squares_each=_in_memory.torch_squares_each,
            largest=lambda x: float(x.max()),
            smallest=lambda x: float(x.min()),
            # A Python number is made a tensor at each call.
            number=_in_memory.torch_number,
            multiply=_in_memory.torch_multiply,
            sum_squares_middle=_in_memory.torch_sum_squares_middle,
            sum_middle=_in_memory.torch_sum_middle,
            multiply_each=_in_memory.torch_multiply_each,
            rows_with_any=_in_memory.torch_rows_with_any,
            memory_order=_in_memory.torch_memory_order,
            empty_like=_in_memory.torch_empty_like,
        ),
    ),
    "jax.numpy": Library(
        # XLA adds in windows of 32: up to 240 roundoffs at 2**22 entries. A tree over many
        # slices at a time is fused into one loop; over 2 at a time it would keep half of w.
        sum=_jax.fused_sum,
        spare_sum=_jax.fused_spare_sum,
        # Without the barrier XLA keeps the float64 copy of a bfloat16 weight between two reads.
        reread=_jax.barrier,
        # A call has float64 while it runs; a measure made outside of one only with x64.
        has_float64=_jax.has_float64,
        # XLA on CPUs compares subnormal numbers as zeros.
        negative=_jax.negative_by_bits,
        differentiated=_jax.stated,
        # Where they are used; that of shards does not fit.
        device_of_constants=lambda like: None,
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
    "array_api_strict": Library(ignoring=_ignoring),  # its arrays are NumPy's
    "sparse": Library(refused=lambda w: "stored sparsely: make it dense first"),
}
_STANDARD = Library()  # array-api-strict, CuPy, any conforming library: the standard alone


def library(xp: Namespace) -> Library:
    return LIBRARIES.get(xp.__name__, _STANDARD)


def namespace(w: Any) -> Namespace:
    """Return the array API namespace of ``w``, or raise TypeError.

    ``array_api_compat.array_namespace`` is asked, but not for torch: where ``torch.compile``
    traces the cache of that function, it warns; and not for JAX: it makes an array there.
    """
    if type(w) in _NAMESPACES:
        return _NAMESPACES[type(w)]
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(w, torch.Tensor):
        import array_api_compat.torch as torch_namespace

        xp: Any = torch_namespace
    else:
        xp = _jax.namespace(w) or array_api_compat.array_namespace(w)
    _NAMESPACES[type(w)] = xp
    return cast(Namespace, xp)


_NAMESPACES: dict[type, Namespace] = {}  # asking takes a microsecond


def in_memory(w: Any, xp: Namespace) -> InMemory | None:
    """Return how to work on ``w`` where it is at hand, in the memory of the processor."""
    found = library(xp).in_memory
    return found if found is not None and found.holds(w) else None


def dtype_name(w: Array, xp: Namespace) -> str:
    return library(xp).name_of(w.dtype)


def ties(arrays: list[Any]) -> list[int]:
    """Return for each array the place of the first that is the same entries of one memory.

    They have to be of one library, of the same shape, and in the same order.
    """
    if compiling():
        return list(range(len(arrays)))
    seen: dict[int, int] = {}
    first = [seen.setdefault(id(w), i) for i, w in enumerate(arrays)]
    groups: dict[str, list[int]] = {}
    for i in seen.values():
        with contextlib.suppress(TypeError):  # the constraint says what is wrong with it
            groups.setdefault(namespace(arrays[i]).__name__, []).append(i)
    for name, places in groups.items():
        memories = LIBRARIES.get(name, _STANDARD).memories([arrays[i] for i in places])
        same: dict[Any, int] = {}
        found = {
            i: i if memory is None else same.setdefault(memory, i)
            for i, memory in zip(places, memories, strict=True)
        }
        first = [found.get(i, i) for i in first]
    return first


def zero_dimensional(result: Any, xp: Namespace) -> Any:
    """Return a result as an array: NumPy makes a scalar of one without dimensions."""
    return result if hasattr(result, "__setitem__") else xp.asarray(result)


def compiling() -> bool:
    """Whether ``torch.compile`` traces this: it does not see through tables and caches."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def device(w: Any) -> Any:
    return getattr(w, "device", None)  # Dask has none


def constant(numbers: Any, like: Array, xp: Namespace, *, alike: bool = False) -> Array:
    """Return numbers as an array beside ``like``; ``alike``: in its dtype and shape."""
    found = library(xp)
    dtype = like.dtype if alike else None
    array = xp.asarray(numbers, dtype=dtype, device=found.device_of_constants(like))
    return found.beside(xp.reshape(array, like.shape) if alike else array, like)


def precision(w: Array, xp: Namespace) -> Precision:
    """Return the format of ``w`` (float64 for integers) and that of its accumulator."""
    widest = "float64" if library(xp).has_float64(w, xp) else "float32"
    name = dtype_name(w, xp)
    return PRECISIONS[name if name in FORMATS else widest, widest]


def accumulated(w: Array, xp: Namespace) -> Array:
    """Return ``w`` in the dtype of its accumulator: float64 where there is one."""
    weight, accumulator = precision(w, xp)
    wide = xp.astype(w, getattr(xp, accumulator.name), copy=False)
    bits = library(xp).bits
    if bits is None or weight == accumulator or not subnormals.flushed():
        return wide
    if dtype_name(w, xp) not in FORMATS:
        return wide
    exact, subnormal = subnormals.widened(
        bits(w), weight.digits, weight.smallest_normal, wide.dtype, xp
    )
    return xp.where(subnormal, exact, wide)


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
