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
from typing import Any, cast

import array_api_compat

from array_constraints._formats import FORMATS, Precision
from array_constraints._protocol import Array, Count, Namespace
from array_constraints._sums import Term, pairwise_sum, plain_sum


def _chunkwise_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    """Sum each chunk of a Dask array pairwise, then the sums of the chunks."""
    import dask.array

    def add(chunk: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        chunk_xp = array_api_compat.array_namespace(chunk)
        return pairwise_sum(chunk, None, axis, chunk_xp, lambda x, scale: x)

    terms = term(x, scale)
    options = {"axis": axes, "keepdims": True, "dtype": terms.dtype}
    return cast(Array, dask.array.reduction(terms, chunk=add, aggregate=add, **options))


_jitted: dict[Callable[..., Any], Callable[..., Any]] = {}


def _jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return the one ``jax.jit`` of ``function``: its cache of compiled shapes is shared."""
    import jax

    if function not in _jitted:
        _jitted[function] = jax.jit(function, **options)
    return _jitted[function]


def _run(function: Callable[..., Array], form: object, w: Array, xp: Namespace) -> Array:
    return function(form, w, xp)


def _run_jitted(function: Callable[..., Array], form: Any, w: Array, xp: Namespace) -> Array:
    try:
        hash(form)
    except TypeError:  # a user's form with a list among its parameters
        return function(form, w, xp)
    return cast(Array, _jit(function, static_argnums=(0, 2))(form, w, xp))


def _negative(w: Array, xp: Namespace) -> Array:
    return w < 0


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
    has_float64: Callable[[Any, Namespace], bool] = lambda w, xp: (
        "float64" in xp.__array_namespace_info__().dtypes(device=w.device)
    )
    negative: Callable[[Array, Namespace], Array] = _negative
    differentiates: bool = False
    straight_through: Callable[[Any, Any], Array] = lambda value, surrogate: value
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
        differentiates=True,
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
        differentiates=True,
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


def is_sparse(w: Any, xp: Namespace) -> bool:
    """Tell whether ``w`` is an array of a known library that is not stored densely."""
    if xp.__name__ == "array_api_compat.torch":
        return bool(w.layout is not sys.modules["torch"].strided)
    return bool(array_api_compat.is_pydata_sparse_namespace(cast(ModuleType, xp)))


def is_numpy_scalar(w: Any, xp: Namespace) -> bool:
    return xp.__name__ == "array_api_compat.numpy" and not hasattr(w, "__setitem__")


def dtype_name(w: Array) -> str:
    return getattr(w.dtype, "name", None) or str(w.dtype).rpartition(".")[2]


def device(w: Array) -> Any:
    return array_api_compat.device(w)


def precision(w: Array, xp: Namespace) -> Precision:
    """Return the format of ``w`` (float64 for integers) and that of its accumulator."""
    widest = "float64" if library(xp).has_float64(w, xp) else "float32"
    return Precision(FORMATS.get(dtype_name(w), FORMATS[widest]), FORMATS[widest])


def accumulated(w: Array, xp: Namespace) -> Array:
    """Return ``w`` in the dtype of its accumulator: float64 where there is one."""
    return xp.astype(w, getattr(xp, precision(w, xp).accumulator.name), copy=False)


def count_entries(block: Array, axes: tuple[int, ...], xp: Namespace) -> Count:
    """Return how many entries of ``block`` each slice along ``axes`` has."""
    lengths = [block.shape[i] for i in axes]
    if any(
        n is None or n != n for n in lengths
    ):  # Dask writes NaN for a length it does not know
        return xp.sum(xp.ones_like(accumulated(block, xp)), axis=axes, keepdims=True)
    return math.prod(lengths)
