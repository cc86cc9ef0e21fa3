"""All that JAX needs beyond the standard: one compiled call, sums that XLA fuses, placement."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Hashable, Iterable
from typing import Any, cast

from array_constraints.numerics.formats import FORMATS
from array_constraints.numerics.sums import Term, pairwise_sum, plain_sum
from array_constraints.typing import Array, Namespace


def namespace(w: Any) -> Any | None:
    """Return ``jax.numpy`` for an array or tracer of JAX, without making an array to ask."""
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(w, jax.Array):
        return None
    import jax.numpy as xp

    return xp


def has_float64(w: Any, xp: Namespace) -> bool:
    """Whether float64 can be made; also without x64 an array may have it already."""
    return bool(sys.modules["jax"].config.jax_enable_x64) or w.dtype == "float64"


def run(
    function: Callable[..., Array], form: Any, w: Any, xp: Namespace, state: Hashable | None
) -> Array:
    """Run a function of a form in float64, as one ``jit`` for all forms of the same state."""
    narrow = not sys.modules["jax"].config.jax_enable_x64
    with _with_float64()(True):
        if state is None:
            return _placed(function, form, w, xp, narrow)
        return _jitted(function)(form, w, xp, narrow, state)


def _with_float64() -> Any:
    """Let JAX make float64 arrays in this thread, for a while, as an accumulator."""
    import jax

    return jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


@functools.cache
def _jitted(function: Callable[..., Array]) -> Callable[..., Array]:
    import jax

    def call(form: object, w: Any, xp: Namespace, narrow: bool, state: Hashable) -> Array:
        return _placed(function, form, w, xp, narrow)

    return cast(Callable[..., Array], jax.jit(call, static_argnums=(0, 2, 3, 4)))


def _placed(
    function: Callable[..., Array], form: object, w: Any, xp: Namespace, narrow: bool
) -> Array:
    """Run ``function`` in device memory; the result lies where ``w`` lies, as it lies there."""
    import jax

    first = jax.tree.leaves(w)[0]
    aval = jax.typeof(first) if hasattr(jax, "typeof") else first
    offloaded = str(getattr(aval, "memory_space", None)).endswith("Host")
    if offloaded:  # constants are made in device memory, and accelerators compute there
        host, device = jax.memory.Space.Host, jax.memory.Space.Device
        w = jax.device_put(w, device, src=host)
    result: Array = _on_automatic_axes(lambda w: function(form, w, xp), w, aval)
    if narrow and result.dtype == "float64" and first.dtype != "float64":
        # XLA takes what is less than that for zero: a violation that is not 0 stays so.
        least: Any = 2.0**-126
        narrowed = xp.astype(result, xp.float32)
        result = xp.where((result > 0) & (result < least), least, narrowed)
    if offloaded:
        result = jax.device_put(result, host, src=device)
    return result


def _on_automatic_axes(call: Callable[[Any], Any], w: Any, aval: Any) -> Any:
    """Call with the explicit axes of the mesh made automatic, the result sharded as ``w`` is.

    Explicit axes refuse to cut a sharded dimension in halves, or to merge it with others.
    """
    import jax

    mesh = getattr(getattr(aval, "sharding", None), "mesh", None)
    explicit = getattr(mesh, "explicit_axes", ())
    if not explicit or not any(aval.sharding.spec):
        return call(w)

    def automatic(out_sharding: Any) -> Any:
        return jax.sharding.auto_axes(call, axes=explicit, out_sharding=out_sharding)

    def sharding(shape: tuple[int, ...]) -> Any:
        spec = aval.sharding.spec
        kept = [
            part if n == m else None
            for part, n, m in zip(spec, shape, aval.shape, strict=False)
        ]
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*kept))

    shape = jax.eval_shape(automatic(sharding(())), w).shape
    return automatic(sharding(shape))(w)


def mapped_at_once(constraint: Any, weights: Any, state: Hashable) -> Any | None:
    """Return a pytree of JAX arrays mapped in one cached ``jit`` for each of their places.

    None for anything else than JAX arrays.
    """
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    leaves, tree = jax.tree.flatten(weights)
    if not leaves or not all(isinstance(leaf, jax.Array) for leaf in leaves):
        return None
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):  # compiled as it is
        return jax.tree.map(constraint, weights)
    for indices in _together(leaves):
        group = [leaves[i] for i in indices]
        found = _jitted_map()(constraint, group, state)
        for i, result in zip(indices, found, strict=True):
            leaves[i] = result
    return jax.tree.unflatten(tree, leaves)


def _together(leaves: list[Any]) -> Iterable[Iterable[int]]:
    """Return the places of the arrays that one compiled call takes: of one mesh, or devices."""
    shardings = {leaf.sharding for leaf in leaves}
    if len(shardings) == 1:
        return [range(len(leaves))]
    groups: dict[Hashable, list[int]] = {}
    for i, leaf in enumerate(leaves):
        mesh = getattr(leaf.sharding, "mesh", None)
        key = frozenset(leaf.sharding.device_set) if mesh is None else mesh
        groups.setdefault(key, []).append(i)
    return groups.values()


@functools.cache
def _jitted_map() -> Callable[..., Any]:
    import jax

    def call(constraint: Any, weights: Any, state: Hashable) -> Any:
        return [constraint(w) for w in weights]

    return cast(Callable[..., Any], jax.jit(call, static_argnums=(0, 2)))


def negative_by_bits(w: Any, xp: Any) -> Any:
    import jax

    if w.dtype.name not in FORMATS:
        return w < 0
    bits = jax.lax.bitcast_convert_type(w, f"int{8 * w.dtype.itemsize}")
    return (bits < 0) & (bits != xp.iinfo(bits.dtype).min) & ~xp.isnan(w)


def stated(value: Any, derivative: Any, w: Any) -> Any:
    """Return ``value(w)``, with ``derivative(w, t)`` as its derivative along ``t``.

    Where no derivative is asked for, XLA sees the value alone.
    """
    import jax

    def both(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        with _with_float64()(True):  # a loop is differentiated after the call that traced it
            return mapped(*primals), derivative(*primals, *tangents)

    mapped: Any = jax.custom_jvp(value)
    mapped.defjvp(both)
    return mapped(w)


def barrier(w: Any) -> Any:
    import jax

    return jax.lax.optimization_barrier(w)


def fused_sum(
    x: Any, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    """Sum pairwise over so many slices that the first partial sums take 1/32 of ``x``."""
    ways = 32 * (8 if has_float64(x, xp) else 4) // x.dtype.itemsize
    devices = _devices()
    if devices == 1:
        return pairwise_sum(x, scale, axes, xp, term, ways)
    return _shardwise_sum(x, scale, axes, xp, term, ways, devices)


def _devices() -> int:
    """Return over how many devices XLA may spread what is traced, as far as JAX says so."""
    import jax

    if not hasattr(jax.sharding, "get_abstract_mesh"):
        return 1
    mesh = jax.sharding.get_abstract_mesh()
    return math.prod([mesh.shape[axis] for axis in getattr(mesh, "auto_axes", ())])


def _shardwise_sum(
    x: Any,
    scale: Any,
    axes: tuple[int, ...],
    xp: Namespace,
    term: Term,
    ways: int,
    devices: int,
) -> Array:
    """Sum pairwise within parts that no device shares with another, then their sums.

    A dimension that is sharded is sharded evenly: in as many parts as divide the devices, too.
    To cut it at other places moves it between them, and takes XLA minutes to compile.
    """

    def split(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        parts = [math.gcd(n, devices) for n in shape]
        return [
            (part, n // part) if i in axes else (n,)
            for i, (n, part) in enumerate(zip(shape, parts, strict=True))
        ]

    def reshaped(y: Any) -> Any:
        return xp.reshape(y, tuple([n for lengths in split(y.shape) for n in lengths]))

    outer = tuple([axis + sum(i < axis for i in axes) for axis in axes])
    inner = tuple([axis + 1 for axis in outer])
    factor = None if scale is None else reshaped(scale)
    sums = pairwise_sum(reshaped(x), factor, inner, xp, term, ways)
    total = pairwise_sum(sums, None, outer, xp)
    return xp.reshape(total, tuple([1 if i in axes else n for i, n in enumerate(x.shape)]))


def fused_spare_sum(
    x: Any, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    """Sum in float64 in one loop, as XLA on CPUs does it fastest.

    It would convert float16 as a whole; over several dimensions it is twice as slow as over
    one; and it reads long rows column by column.
    """
    if _devices() > 1:  # each adds up its own
        return plain_sum(x, scale, axes, xp, term)
    if x.dtype == "float16":
        return fused_sum(x, scale, axes, xp, term)
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
