"""Where JAX computes, and where its results lie: host memory, shards, meshes, float64."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import jax
import jax.numpy as xp


def with_float64() -> Any:
    """Let JAX make float64 arrays in this thread, for a while, as an accumulator."""
    enable = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    return enable(True)


def placed(call: Callable[[Any], Any], w: Any, narrow: bool) -> Any:
    """Call with ``w`` in device memory; the result lies where ``w`` lies, as it lies there.

    ``narrow``: the result is float32 at most, unless ``w`` is not.
    """
    first = jax.tree.leaves(w)[0]
    aval = jax.typeof(first) if hasattr(jax, "typeof") else first
    offloaded = str(getattr(aval, "memory_space", None)).endswith("Host")
    if offloaded:  # constants are made in device memory, and accelerators compute there
        host, device = jax.memory.Space.Host, jax.memory.Space.Device
        w = jax.device_put(w, device, src=host)
    result: Any = _on_automatic_axes(call, w, aval)
    if narrow and result.dtype == "float64" and first.dtype != "float64":
        # XLA takes what is less than that for zero: a violation that is not 0 stays so.
        least = 2.0**-126
        result = xp.where((result > 0) & (result < least), least, result.astype(xp.float32))
    if offloaded:
        result = jax.device_put(result, host, src=device)
    return result


def _on_automatic_axes(call: Callable[[Any], Any], w: Any, aval: Any) -> Any:
    """Call with the explicit axes of the mesh made automatic, the result sharded as ``w`` is.

    Explicit axes refuse to cut a sharded dimension in halves, or to merge it with others.
    """
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


def together(leaves: list[Any]) -> Iterable[Iterable[int]]:
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
