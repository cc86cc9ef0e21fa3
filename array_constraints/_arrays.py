"""All that is known about array libraries: the only importer of array_api_compat.

The table :data:`LIBRARIES` is the only place keyed by library. Each line carries the measured
reason why the functions of the standard alone would not do.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import array_api_compat

from array_constraints._formats import FORMATS, Precision
from array_constraints._protocol import Array, Count
from array_constraints._sums import Term, pairwise_sum, plain_sum

_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}

def _chunkwise_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: ModuleType, term: Term
) -> Array:
    """Sum each chunk of a Dask array pairwise, then the sums of the chunks."""
    import dask.array

    def add(chunk: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        chunk_xp = array_api_compat.array_namespace(chunk)
        return pairwise_sum(chunk, None, axis, chunk_xp, lambda x, scale: x)

    terms = term(x, scale)
    return dask.array.reduction(  # type: ignore[no-any-return]
        terms, chunk=add, aggregate=add, axis=axes, keepdims=True, dtype=terms.dtype
    )


_jitted: dict[Callable[..., Any], Callable[..., Any]] = {}


def _jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return the one ``jax.jit`` of ``function``: its cache of compiled shapes is shared."""
    import jax

    if function not in _jitted:
        _jitted[function] = jax.jit(function, **options)
    return _jitted[function]


def _run(function: Callable[..., Array], form: object, w: Array, xp: ModuleType) -> Array:
    return function(form, w, xp)


def _run_jitted(function: Callable[..., Array], form: Any, w: Array, xp: ModuleType) -> Array:
    if form.__hash__ is None:
        return function(form, w, xp)
    return _jit(function, static_argnums=(0, 2))(form, w, xp)  # type: ignore[no-any-return]


def _negative(w: Array, xp: ModuleType) -> Array:
    return w < 0  # type: ignore[no-any-return]


def _negative_by_bits(w: Array, xp: ModuleType) -> Array:
    import jax

    if not xp.isdtype(w.dtype, "real floating"):
        return w < 0  # type: ignore[no-any-return]
    bits = jax.lax.bitcast_convert_type(w, f"int{8 * w.dtype.itemsize}")
    return (bits < 0) & (bits != xp.iinfo(bits.dtype).min) & ~xp.isnan(w)  # type: ignore[no-any-return]


def _detached(value: Any, surrogate: Any) -> Array:
    return value.detach() + (surrogate - surrogate.detach())  # type: ignore[no-any-return]


def _stopped(value: Array, surrogate: Array) -> Array:
    import jax

    return jax.lax.stop_gradient(value) + (surrogate - jax.lax.stop_gradient(surrogate))  # type: ignore[no-any-return]


def _fused_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: ModuleType, term: Term
) -> Array:
    """Sum pairwise over so many slices that the first partial sums take 1/32 of ``x``."""
    ratio = getattr(xp, precision(x, xp).accumulator.name).dtype.itemsize // x.dtype.itemsize
    return pairwise_sum(x, scale, axes, xp, term, ways=32 * ratio)


def _fused_spare_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: ModuleType, term: Term
) -> Array:
    """As above, but XLA on CPUs converts all of a bfloat16 array before it slices it."""
    add = plain_sum if dtype_name(x) == "bfloat16" else _fused_sum
    return add(x, scale, axes, xp, term)


def _barrier(w: Any) -> Any:
    import jax

    return jax.lax.optimization_barrier(w)


def _numpy_unwritable(w: Any) -> str | None:
    if not w.flags.writeable:
        return "a read-only array"
    return _overlapping(w.shape, w.strides)


def _torch_unwritable(w: Any) -> str | None:
    import torch

    if w.is_leaf and w.requires_grad and torch.is_grad_enabled():
        return "a leaf that requires grad while grad mode is on (use torch.no_grad())"
    if w.is_inference() and not torch.is_inference_mode_enabled():
        return "an inference tensor outside inference mode"
    return _overlapping(w.shape, w.stride())


def _overlapping(shape: tuple[int, ...], strides: tuple[int, ...]) -> str | None:
    if any(n > 1 and stride == 0 for n, stride in zip(shape, strides, strict=True)):
        return "an expanded array, whose entries share memory"
    return None


def _always_unwritable(w: object) -> str | None:
    return "an immutable array"


def _assign(w: Any, result: Any) -> None:
    try:
        w[...] = result
    except (TypeError, ValueError) as error:  # a library that cannot be asked beforehand
        raise ValueError(f"copy=False cannot write into this array: {error}") from error


def _copy_(w: Any, result: Any) -> None:
    w.copy_(result)


@dataclass(frozen=True)
class Library:
    """What must be known about one array library beyond the standard, and how it is used."""

    sum: Callable[..., Array] = pairwise_sum
    spare_sum: Callable[..., Array] = pairwise_sum
    has_float64: Callable[[Any, ModuleType], bool] = lambda w, xp: (
        "float64" in xp.__array_namespace_info__().dtypes(device=w.device)
    )
    negative: Callable[[Array, ModuleType], Array] = _negative
    straight_through: Callable[[Any, Any], Array] | None = None
    reread: Callable[[Any], Any] = lambda w: w
    run: Callable[..., Array] = _run
    unwritable: Callable[[Any], str | None] = lambda w: None
    write: Callable[[Any, Any], None] = _assign


NUMPY = Library(
    # sum: numpy.sum along a leading axis adds one by one: 229,148 roundoffs at 2**20 entries.
    has_float64=lambda w, xp: True,
    unwritable=_numpy_unwritable,
)
LIBRARIES = {
    "numpy": NUMPY,
    "array_api_compat.numpy": NUMPY,
    "array_api_compat.torch": Library(
        # torch.sum adds in a cascade: up to 257 roundoffs at 2**22 entries, enough only where
        # the accumulator has spare digits; there it is one pass instead of log2 n.
        spare_sum=plain_sum,
        has_float64=lambda w, xp: w.device.type != "mps",  # Metal has no float64
        straight_through=_detached,
        unwritable=_torch_unwritable,
        write=_copy_,
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
        straight_through=_stopped,
        run=_run_jitted,  # one dispatch instead of thirty, and eager results equal jitted ones
        unwritable=_always_unwritable,
    ),
    "array_api_compat.dask.array": Library(
        # Slicing a Dask array in halves makes a graph of n log n tasks, and needs known chunks.
        sum=_chunkwise_sum,
        spare_sum=_chunkwise_sum,
        has_float64=lambda w, xp: True,
        unwritable=_always_unwritable,
    ),
}
_STANDARD = Library()  # array-api-strict, CuPy, any conforming library: the standard alone


def library(xp: ModuleType) -> Library:
    return LIBRARIES.get(xp.__name__, _STANDARD)


def accepted(owner: str, w: Any, copy: bool | None = None) -> tuple[Any, ModuleType]:
    """Return ``w`` as an array and its namespace, or raise an error that says what to pass."""
    if copy is not None and not isinstance(copy, bool):
        raise TypeError(f"{owner}: copy must be None, True or False, got {copy!r}")
    xp = namespace(owner, w)
    if not hasattr(w, "__setitem__") and xp.__name__ == "array_api_compat.numpy":
        w = xp.asarray(w)  # a NumPy scalar: a 0-d array that nobody else can see
        w.flags.writeable = False
    reason = library(xp).unwritable(w) if copy is False else None
    if reason is not None:
        raise ValueError(f"{owner}: copy=False cannot write into {reason}")
    return w, xp


def namespace(owner: str, w: Any) -> ModuleType:
    """Return the array API namespace of ``w``; array_api_compat is asked but for torch."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(w, torch.Tensor):
        if w.layout is not torch.strided:
            raise TypeError(f"{owner} takes dense arrays, got layout {w.layout}: {_DENSE}")
        import array_api_compat.torch as torch_namespace

        return torch_namespace  # array_namespace() warns when torch.compile traces its cache
    kinds = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(w).__mro__}
    if kinds & {"numpy.MaskedArray", "numpy.matrix"}:
        raise TypeError(f"{owner} takes plain arrays, got {_named(w)}: {_PLAIN}")
    try:
        xp = array_api_compat.array_namespace(w)
    except TypeError:
        raise TypeError(f"{owner} takes an array, got {_named(w)}: {_advice(w)}") from None
    if array_api_compat.is_pydata_sparse_namespace(xp):
        raise TypeError(f"{owner} takes dense arrays, got {_named(w)}: {_DENSE}")
    return xp  # type: ignore[no-any-return]


_DENSE = "make it dense first"
_PLAIN = "pass numpy.asarray(w), masked entries filled first"


def _named(w: object) -> str:
    return f"{type(w).__module__.partition('.')[0]}.{type(w).__qualname__}".removeprefix(
        "builtins."
    )


def _advice(w: object) -> str:
    if not isinstance(w, type) and hasattr(type(w), "value"):
        return "pass its .value"
    if hasattr(w, "todense") or hasattr(w, "toarray"):
        return _DENSE
    return "make it an array first, for example with numpy.asarray(w)"


def dtype_name(w: Array) -> str:
    return getattr(w.dtype, "name", None) or str(w.dtype).rpartition(".")[2]


def is_real_floating(w: Array) -> bool:
    return dtype_name(w) in FORMATS


def is_real_numeric(w: Array) -> bool:
    return dtype_name(w) in FORMATS.keys() | _INTEGERS


def device(w: Array) -> Any:
    return array_api_compat.device(w)


def precision(w: Array, xp: ModuleType) -> Precision:
    """Return the format of ``w`` (float64 for integers) and that of its accumulator."""
    widest = "float64" if library(xp).has_float64(w, xp) else "float32"
    return Precision(FORMATS.get(dtype_name(w), FORMATS[widest]), FORMATS[widest])


def accumulated(w: Array, xp: ModuleType) -> Array:
    """Return ``w`` in the dtype of its accumulator: float64 where there is one."""
    return xp.astype(w, getattr(xp, precision(w, xp).accumulator.name), copy=False)  # type: ignore[no-any-return]


def count_entries(block: Array, axes: tuple[int, ...], xp: ModuleType) -> Count:
    """Return how many entries of ``block`` each slice along ``axes`` has."""
    lengths = [block.shape[i] for i in axes]
    if any(n is None or n != n for n in lengths):  # Dask writes NaN for a length it does not know
        return xp.sum(xp.ones_like(accumulated(block, xp)), axis=axes, keepdims=True)  # type: ignore[no-any-return]
    return math.prod(lengths)
