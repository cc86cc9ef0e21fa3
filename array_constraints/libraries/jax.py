"""JAX: one compiled call for all bounds, and sums that XLA fuses."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import jax
import jax.numpy

from array_constraints.libraries import jax_isotonic, state
from array_constraints.libraries.base import IMMUTABLE, Library
from array_constraints.libraries.jax_placement import (
    as_data,
    devices_of,
    placed,
    together,
    with_float64,
)
from array_constraints.libraries.numpy import booleans
from array_constraints.libraries.thresholds.jax import JaxThresholds
from array_constraints.numerics.formats import FORMATS
from array_constraints.numerics.sums import Term, pairwise_sum, plain_sum
from array_constraints.typing import Array


class Jax(Library):
    """JAX's arrays and tracers, sharded or offloaded ones too."""

    finding_thresholds = JaxThresholds

    def has_float64(self, w: Any) -> bool:
        """Whether float64 can be made: while a call runs, and of an array that has it."""
        return bool(jax.config.jax_enable_x64) or w.dtype == "float64"

    def device(self, w: Any) -> Any:
        return None  # where they are used; that of shards does not fit

    def traced(self, number: Any) -> bool:
        return isinstance(number, jax.core.Tracer)

    def booleans(self, text: str, shape: tuple[int, ...], like: Any) -> Any:
        return self.xp.asarray(booleans(text, shape))

    def flushes(self) -> bool:
        return True  # XLA on CPUs

    def magnitude(self, w: Any) -> Any:
        """Return the bits without the sign: XLA on CPUs compares subnormal numbers as zeros."""
        if w.dtype.name not in FORMATS:
            return super().magnitude(w)
        bits = jax.lax.bitcast_convert_type(w, f"int{8 * w.dtype.itemsize}")
        return bits & self.xp.iinfo(bits.dtype).max

    def ranked(self, w: Any) -> Any:
        return self.magnitude(w)

    def all_known(self, magnitudes: list[Any], dtype: Any) -> Any:
        if dtype.name not in FORMATS:
            return super().all_known(magnitudes, dtype)
        infinity = self.magnitude(self.xp.asarray(math.inf, dtype))
        return functools.reduce(lambda a, b: a & b, (x <= infinity for x in magnitudes))

    def nonzero(self, w: Any) -> Any:
        if w.dtype.name not in FORMATS:
            return super().nonzero(w)
        size = self.magnitude(w) - 1  # compared with 0 it would be made a comparison of floats
        return (size >= 0) & (size < self.magnitude(self.xp.asarray(math.inf, w.dtype)))

    def negative(self, w: Any) -> Any:
        """Tell them by their bits: XLA on CPUs compares subnormal numbers as zeros."""
        if w.dtype.name not in FORMATS:
            return w < 0
        bits = jax.lax.bitcast_convert_type(w, f"int{8 * w.dtype.itemsize}")
        return (bits < 0) & (bits != self.xp.iinfo(bits.dtype).min) & ~self.xp.isnan(w)

    # XLA adds in windows of 32: up to 240 roundoffs at 2**22 entries. A tree over many slices
    # at a time is fused into one loop; over 2 at a time it would keep half of w.

    def _add(self, x: Any, scale: Any, axes: tuple[int, ...], term: Term) -> Array:
        """Sum pairwise over so many slices that the first partial sums take 1/32 of ``x``."""
        ways = 32 * (8 if self.has_float64(x) else 4) // x.dtype.itemsize
        devices = devices_of(x)
        if devices == 1:
            return pairwise_sum(x, scale, axes, self.xp, term, ways)
        return self._shardwise_sum(x, scale, axes, term, ways, devices)

    def _add_in_any_order(self, x: Any, scale: Any, axes: tuple[int, ...], term: Term) -> Array:
        """Sum in float64 in one fused loop, over all axes at once.

        Axes are not merged first: a sharded one would be gathered. Two workarounds for XLA on
        CPUs: float16 takes the tree, as XLA would keep its float64 copy; and long columns are
        summed 64 rows at a time, as it reads them column by column. On a GPU such a loop takes
        up to a hundred times as long.
        """
        plain = functools.partial(plain_sum, scale=None, axes=axes, xp=self.xp, term=term)
        on_cpu: Any = None
        if devices_of(x) == 1:
            long = x.ndim > 1 and x.shape[0] >= 2 * _ROWS and math.prod(x.shape) >= 2**23
            if x.dtype == "float16":
                on_cpu = functools.partial(self._add, scale=None, axes=axes, term=term)
            elif long and axes == (0,):
                on_cpu = functools.partial(self._rowwise_sum, axes=axes, term=term)
        if on_cpu is None or scale is not None:
            return plain_sum(x, scale, axes, self.xp, term)  # each device adds up its own
        return cast(Array, jax.lax.platform_dependent(x, cpu=on_cpu, default=plain))

    def _rowwise_sum(self, x: Any, axes: tuple[int, ...], term: Term) -> Any:
        def add(i: Any, total: Any) -> Any:
            rows = jax.lax.dynamic_slice_in_dim(x, i * _ROWS, _ROWS)
            return total + plain_sum(rows, None, axes, self.xp, term)

        count = x.shape[0] // _ROWS
        total = plain_sum(x[count * _ROWS :, ...], None, axes, self.xp, term)
        return jax.lax.fori_loop(0, count, jax.checkpoint(add), total)

    def _shardwise_sum(
        self, x: Any, scale: Any, axes: tuple[int, ...], term: Term, ways: int, devices: int
    ) -> Array:
        """Sum pairwise within parts that no device shares with another, then their sums.

        A dimension that is sharded is sharded evenly: in as many parts as divide the devices,
        too. To cut it elsewhere moves it between them, and takes XLA minutes to compile.
        """

        def split(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
            parts = [math.gcd(n, devices) for n in shape]
            return [
                (part, n // part) if i in axes else (n,)
                for i, (n, part) in enumerate(zip(shape, parts, strict=True))
            ]

        def reshaped(y: Any) -> Any:
            return self.xp.reshape(y, tuple([n for each in split(y.shape) for n in each]))

        outer = tuple([axis + sum(i < axis for i in axes) for axis in axes])
        inner = tuple([axis + 1 for axis in outer])
        factor = None if scale is None else reshaped(scale)
        sums = pairwise_sum(reshaped(x), factor, inner, self.xp, term, ways)
        total = pairwise_sum(sums, None, outer, self.xp)
        shape = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
        return cast(Array, self.xp.reshape(total, shape))

    def run(self, function: Callable[..., Any], form: Any, w: Any) -> Any:
        """Run it in float64, as one ``jit`` for all forms that differ in their bounds alone.

        One dispatch instead of thirty, and eager results equal jitted ones. A sum in float32
        that is as accurate needs a tree of additions, 4 to 13 times as long.
        """
        narrow = not jax.config.jax_enable_x64
        found = state.structure_of(form)
        with with_float64():
            if found is None:
                return placed(function, form, w, narrow)
            structure, bounds = found
            return _jitted(function)(structure, as_data(bounds, w), w, narrow)

    def nondecreasing(self, x: Any) -> Any:
        return jax_isotonic.regression(x)

    def differentiated(
        self, value: Callable[..., Any], derivative: Callable[..., Any], w: Any, bounds: Any
    ) -> Any:
        """State the derivative; where none is asked for, XLA sees the value alone."""

        def both(primals: Any, tangents: Any) -> tuple[Any, Any]:
            (w, bounds), (tangent, moves) = primals, tangents
            with with_float64():  # a loop is differentiated after the call that traced it
                change = _instantiated(tangent)
                if not _is_zero(tangent):
                    change = derivative(w, change, bounds)
                if not all(map(_is_zero, jax.tree.leaves(moves, is_leaf=_is_zero))):
                    bounds = jax.tree.map(jax.numpy.asarray, bounds)
                    moves = jax.tree.map(_like, moves, bounds, is_leaf=_is_zero)
                    change += jax.jvp(lambda b: value(w, b), (bounds,), (moves,))[1]
                return mapped(w, bounds), change

        mapped: Any = jax.custom_jvp(value)
        mapped.defjvp(both, symbolic_zeros=True)
        return mapped(w, bounds)

    def fence(self, w: Any) -> Any:
        """Put a barrier: XLA would keep the float64 copy of a bfloat16 weight between reads."""
        return jax.lax.optimization_barrier(w)

    def factor(self, target: Any, root: Any, moved: Any) -> tuple[Any, Any]:
        """Divide once for each slice, and tell by the quotient which are moved.

        What XLA holds cheap it computes again for each entry: comparisons, a product with the
        reciprocal root. A division it does not; the barrier keeps it from becoming a product.
        A slice whose factor rounds to 1 is the same whether it is moved or kept.
        """
        factor = target / jax.lax.optimization_barrier(root)
        return factor, factor != 1

    def mapped_at_once(self, constraint: Any, weights: Any) -> Mapped | None:
        """Return a pytree of arrays constrained in one cached ``jit`` for each place."""
        found = state.structure_of(constraint)
        leaves, tree = jax.tree.flatten(weights, is_leaf=_is_iterator)
        if found is None or not leaves or not all(isinstance(w, jax.Array) for w in leaves):
            return None
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):  # compiled as it is
            return Mapped(jax.tree.map(constraint, weights), leaves)
        structure, bounds = found
        results = list(leaves)
        for indices in together(leaves):
            group = [leaves[i] for i in indices]
            mapped = _jitted_map()(structure, as_data(bounds, group), group)
            for i, result in zip(indices, mapped, strict=True):
                results[i] = result
        return Mapped(jax.tree.unflatten(tree, results), leaves)

    def unwritable(self, w: Any) -> str | None:
        return IMMUTABLE


class Mapped(NamedTuple):
    """A pytree of constrained arrays, and the arrays that they were."""

    tree: Any
    leaves: list[Any]


_ROWS = 64


def _is_iterator(weights: Any) -> bool:
    return isinstance(weights, Iterator)


@functools.cache
def _jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(structure: Any, bounds: dict[str, Any], w: Any, narrow: bool) -> Any:
        return placed(function, structure.with_bounds(_unfolded(bounds)), w, narrow)

    return cast(Callable[..., Any], jax.jit(call, static_argnums=(0, 3)))


@functools.cache
def _jitted_map() -> Callable[..., Any]:
    def call(structure: Any, bounds: dict[str, Any], weights: list[Any]) -> list[Any]:
        constraint = structure.with_bounds(_unfolded(bounds))
        return [constraint(w) for w in weights]

    return cast(Callable[..., Any], jax.jit(call, static_argnums=0))


def _unfolded(bounds: dict[str, Any]) -> dict[str, Any]:
    """Return bounds that XLA computes with as it does where they are no constants.

    Otherwise a call within a ``jit`` of the user's would round otherwise than an eager one.
    """
    return cast("dict[str, Any]", jax.lax.optimization_barrier(bounds)) if bounds else {}


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _like(tangent: Any, bound: Any) -> Any:
    """Return a tangent in the dtype of its bound: that of a Python number may be another."""
    return jax.numpy.asarray(_instantiated(tangent), dtype=bound.dtype)


def _instantiated(tangent: Any) -> Any:
    return jax.numpy.zeros(tangent.shape, tangent.dtype) if _is_zero(tangent) else tangent


JAX = Jax(cast(Any, jax.numpy))
