"""Where JAX computes, and where its results lie: host memory, shards, meshes, float64."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import jax
import jax.numpy as xp
import numpy

from array_constraints.libraries import state


def with_float64() -> Any:
    """Let JAX make float64 arrays in this thread, for a while, as an accumulator."""
    enable = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    return enable(True)


def placed(function: Callable[..., Any], form: Any, w: Any, narrow: bool) -> Any:
    """Run a form in device memory; the result lies where ``w`` lies, as it lies there.

    ``narrow``: the result is float32 at most, unless ``w`` is not.
    """
    first = jax.tree.leaves(w)[0]
    aval = jax.typeof(first) if hasattr(jax, "typeof") else first
    offloaded = str(getattr(aval, "memory_space", None)).endswith("Host")
    if offloaded:  # constants are made in device memory, and accelerators compute there
        host, device = jax.memory.Space.Host, jax.memory.Space.Device
        w = jax.device_put(w, device, src=host)
    result: Any = _on_automatic_axes(function, form, w, aval)
    if narrow and first.dtype != "float64":
        result = jax.tree.map(_narrowed, result)
    if offloaded:
        result = jax.device_put(result, host, src=device)
    return result


def _narrowed(result: Any) -> Any:
    """Return float32 for float64: a violation that is not 0 stays so."""
    if result.dtype != "float64":
        return result
    least = _least_float32()
    return xp.where((result > 0) & (result < least), least, result.astype(xp.float32))


def _least_float32() -> Any:
    """Return the least float32 that is not taken for zero: XLA has subnormal ones on GPUs."""
    normal, subnormal = (lambda: xp.float32(2.0**-126)), (lambda: xp.float32(2.0**-149))
    return jax.lax.platform_dependent(cuda=subnormal, rocm=subnormal, default=normal)


def _on_automatic_axes(function: Callable[..., Any], form: Any, w: Any, aval: Any) -> Any:
    """Run with the explicit axes of the mesh made automatic, the result sharded as ``w`` is.

    Explicit axes refuse to cut a sharded dimension in halves, or to merge it with others.
    """
    mesh = getattr(getattr(aval, "sharding", None), "mesh", None)
    explicit = getattr(mesh, "explicit_axes", ())
    if not explicit or not any(aval.sharding.spec):
        return function(form, w, xp)
    data = state.data_of(form)

    def call(w: Any, data: dict[str, Any]) -> Any:
        return function(state.with_values(form, data), w, xp)

    def automatic(out_sharding: Any) -> Any:
        return jax.sharding.auto_axes(call, axes=explicit, out_sharding=out_sharding)

    def sharding(shape: tuple[int, ...]) -> Any:
        spec = aval.sharding.spec
        kept = [
            part if n == m else None
            for part, n, m in zip(spec, shape, aval.shape, strict=False)
        ]
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*kept))

    shape = jax.eval_shape(automatic(sharding(())), w, data).shape
    return automatic(sharding(shape))(w, data)


def devices_of(x: Any) -> int:
    """Return over how many devices XLA may spread ``x``, as far as JAX says so.

    The mesh of the array says it, also of a traced one, or the mesh that is set: here, axes
    that were explicit are automatic, and those of ``shard_map`` do not count.
    """
    meshes: list[Any] = []
    if hasattr(jax, "typeof"):
        meshes.append(getattr(getattr(jax.typeof(x), "sharding", None), "mesh", None))
    if hasattr(jax.sharding, "get_abstract_mesh"):
        meshes.append(jax.sharding.get_abstract_mesh())
    automatic = [(mesh, getattr(mesh, "auto_axes", ())) for mesh in meshes]
    counts = [math.prod([int(mesh.shape[axis]) for axis in axes]) for mesh, axes in automatic]
    return max([1, *counts])


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


def as_data(bounds: dict[str, Any], weights: Any) -> dict[str, Any]:
    """Return bounds as arguments of a compiled call, where the weights are.

    They are kept for the next call: to bring a number to a device takes longer than the call.
    """
    if not bounds:
        return bounds
    first = jax.tree.leaves(weights)[0]
    place = None if isinstance(first, jax.core.Tracer) else _place(first)
    return {name: _number(_floats(bound), place) for name, bound in bounds.items()}


def _floats(bound: Any) -> Any:
    return tuple(map(float, bound)) if isinstance(bound, tuple) else float(bound)


def _place(w: Any) -> Any:
    """Return where a number is to lie beside ``w``; as a device, where ``w`` may leave it.

    Beside a number that may not leave its device, the result of a weight that may would have to
    stay, too, and be compiled for anew.
    """
    if not w.committed and len(w.sharding.device_set) == 1:
        return next(iter(w.sharding.device_set))
    return _everywhere(w.sharding)


@functools.lru_cache(maxsize=1024)
def _everywhere(sharding: Any) -> Any:
    """Return the sharding of a number that all devices of another have; None if unknown."""
    if isinstance(sharding, jax.sharding.NamedSharding):
        return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    devices = list(sharding.device_set)
    return jax.sharding.SingleDeviceSharding(devices[0]) if len(devices) == 1 else None


@functools.lru_cache(maxsize=1024)  # numbers, 8 bytes each
def _number(bound: Any, place: Any) -> Any:
    """Return one number, or one for each slice, as float64 on the devices of ``place``."""
    value = numpy.asarray(bound, dtype=numpy.float64)
    if place is None:  # within a jit of the user's, where a constant moves by itself
        return value
    with with_float64():
        if not isinstance(place, jax.Device):
            return jax.device_put(value, place)
        with jax.default_device(place):
            return jax.device_put(value)
