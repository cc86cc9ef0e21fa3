"""Weights of JAX on eight devices: meshes, memories, transfers. Prints what is not right.

Run by test_placement.py in a process of its own: JAX is told the number of devices first.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import sys
import traceback
import warnings

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
from exact import relative_excess
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from array_constraints import (
    Constraint,
    Elementwise,
    Interval,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    NormConstraint,
    RadialConstraint,
    UnitNorm,
    apply,
)

jax.config.update("jax_enable_x64", True)
TOLERANCE = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-20, "float64": 2.0**-49}
EXPLICIT = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
AUTO = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
MIXED = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Explicit, AxisType.Auto))
OTHER = jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Explicit,) * 2)
HOST = SingleDeviceSharding(jax.devices()[3], memory_kind="pinned_host")
MATRIX = np.random.default_rng(0).standard_normal((8, 4)) * 0.3
MATRIX[:, 0] /= 99
MATRIX[0] /= 99
KERNEL = np.random.default_rng(1).standard_normal((3, 3, 4, 2)) * 0.3


class Limit(Elementwise):
    """A form that may change, so that JAX runs it operation by operation."""

    def project(self, w, xp):
        return xp.minimum(w, xp.full_like(w, 0.1))

    def excess(self, w, xp):
        return xp.maximum(w - 0.1, xp.zeros_like(w))


class Ball(NormConstraint):
    axis = 0

    def interval(self):
        return Interval(0.0, 1.0)


class Halve(Constraint):
    def __call__(self, w, *, copy=None):
        return w / 2


def judge(constraint, w, call, violation=None):
    """Raise unless results on ``w`` lie as it lies, with the values that NumPy gives."""
    values = np.asarray(w)
    result, expected = call(w), constraint(values)
    assert result.dtype == w.dtype, result.dtype
    compare(result, expected, w.dtype.name)
    assert result.sharding.is_equivalent_to(w.sharding, w.ndim), result.sharding
    assert result.sharding.memory_kind == w.sharding.memory_kind, result.sharding
    same = np.asarray(constraint.violation(values)) == 0
    kept = np.broadcast_to(same, values.shape) & (values == expected)
    assert (np.asarray(result)[kept] == values[kept]).all(), "a satisfied slice moved"
    found = (violation or constraint.violation)(w)
    compare(found, constraint.violation(values), w.dtype.name)
    assert found.sharding.memory_kind == w.sharding.memory_kind, found.sharding
    assert found.sharding.device_set == w.sharding.device_set, found.sharding


def compare(found, expected, dtype):
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(
        np.asarray(found).astype(float), expected.astype(float), rtol=tolerance, atol=tolerance
    )


def constraints(axis):
    slices = {0: 4, 1: 8, None: 1}[axis]
    yield MaxNorm(1.0, axis)
    yield MaxNorm(tuple(np.linspace(0.2, 1.5, slices)), axis)
    yield MinMaxNorm(0.5, 1.0, 0.3, axis)
    yield UnitNorm(axis)


def weight(values, dtype, where):
    return jax.device_put(jnp.asarray(values).astype(dtype), where)


def explicit_matrices():
    for dtype in TOLERANCE:
        for axis in (0, 1, None):
            w = weight(MATRIX, dtype, NamedSharding(EXPLICIT, P("x", "y")))
            cases = list(constraints(axis)) if dtype == "float64" else [MaxNorm(1.0, axis)]
            for constraint in cases:
                yield f"{constraint} {dtype}", judge, constraint, w, constraint
        yield f"NonNeg {dtype}", judge, NonNeg(), w, NonNeg()
    for spec in (P(("x", "y"), None), P(None, "x"), P("x"), P()):
        w = weight(MATRIX, "float64", NamedSharding(EXPLICIT, spec))
        yield f"{spec}", judge, MaxNorm(1.0), w, MaxNorm(1.0)


def long_slices():
    """Sums of shards are as accurate as those of the whole, and compiled in no more time."""
    n, u = 2**16, 2.0**-53
    values = np.full((n, 2), 1.3 * 2.0**-8)
    values[:, 1] = (0.4999 * u) ** 0.5  # each square alone is lost beside 1
    values[0, 1] = 1.0
    w = weight(values, "float64", NamedSharding(EXPLICIT, P("x", "y")))

    def accurate():
        norms = np.asarray(MaxNorm(0.0).violation(w))[0]
        for i, norm in enumerate(norms):
            assert abs(relative_excess(values[:, i], norm)) <= (16 / 2 + 1.5) * u
        found = np.asarray(UnitNorm()(w))
        for i in (0, 1):
            assert abs(relative_excess(found[:, i], 1.0)) <= (8 + 1.5 * 16) * u

    yield "float64", accurate


def explicit_kernels():
    spec = P(None, None, "x", "y")
    for dtype in TOLERANCE:
        w = weight(KERNEL, dtype, NamedSharding(EXPLICIT, spec))
        for constraint in (MaxNorm(1.0, (0, 1, 2)), RadialConstraint()):
            yield f"{constraint} {dtype}", judge, constraint, w, constraint
    for constraint in (UnitNorm((0, 1, 3)), UnitNorm((3, 2)), MaxNorm((1.0, 2.0), (0, 1, 2))):
        yield f"{constraint}", judge, constraint, w, constraint


def other_meshes():
    for mesh in (AUTO, MIXED):
        for dtype in ("float16", "float64"):
            w = weight(MATRIX, dtype, NamedSharding(mesh, P("x", "y")))
            for constraint in (MaxNorm(1.0, 1), NonNeg()):
                yield f"{constraint} {mesh} {dtype}", judge, constraint, w, constraint


def transformed():
    w = weight(MATRIX, "float64", NamedSharding(EXPLICIT, P("x", "y")))
    c = MaxNorm(0.5)
    yield "jit", judge, c, w, jax.jit(c), jax.jit(c.violation)
    yield "apply in jit", judge, c, w, jax.jit(lambda w: apply(c, {"w": w})["w"])
    cube = weight(np.stack([MATRIX] * 4), "float64", NamedSharding(EXPLICIT, P("x", None, "y")))

    def mapped():
        found = jax.vmap(c)(cube)
        compare(np.asarray(found)[0], c(MATRIX), "float64")
        assert found.sharding == cube.sharding, found.sharding

    yield "vmap", mapped

    def differentiated():
        with jax.set_mesh(EXPLICIT):
            found = jax.jit(jax.grad(lambda w: (c(w) ** 2).sum()))(w)
            compare(jax.grad(lambda w: (c(w) ** 2).sum())(w), np.asarray(found), "float64")
        expected = jax.grad(lambda w: (c(w) ** 2).sum())(jnp.asarray(MATRIX))
        compare(found, np.asarray(expected), "float64")
        assert found.sharding == w.sharding, found.sharding

    yield "grad", differentiated

    def per_device():
        whole = NamedSharding(EXPLICIT, P("x", None))
        rows = weight(MATRIX, "float64", whole)
        with jax.set_mesh(EXPLICIT):
            found = jax.jit(jax.shard_map(c, out_specs=P("x", None)))(rows)
        blocks = [c(MATRIX[i : i + 2]) for i in range(0, 8, 2)]
        compare(found, np.concatenate(blocks), "float64")
        stack = np.stack([MATRIX] * 8)
        compare(jax.pmap(c)(stack)[5], c(MATRIX), "float64")
        mapped = jax.pmap(lambda w: w)(stack)
        judge(MaxNorm(0.5, 1), mapped, MaxNorm(0.5, 1))

    yield "shard_map and pmap", per_device


def spread(names, dimensions):
    """Every way to shard so many dimensions over axes of a mesh."""
    for parts in itertools.product([None, *names, tuple(names)], repeat=dimensions):
        used = "".join("".join(part or "") for part in parts)
        if len(set(used)) == len(used):
            yield P(*parts)


def moved_between_devices(program):
    """How many entries the collectives of a compiled program bring, all-reduces aside."""
    moves = "all-gather|all-to-all|collective-permute|collective-broadcast|reduce-scatter"
    found = re.findall(rf"= (.*?) (?:{moves})(?:-start)?\(", program)
    shapes = [shape for each in found for shape in re.findall(r"\w+\[([\d,]*)\]", each)]
    return sum(math.prod(int(n) for n in shape.split(",") if n) for shape in shapes)


def moves_few_entries(constraints, w, expected):
    """Raise if devices exchange more than partial sums of each slice, or a result is off.

    Where the order of a sum is no matter, they are all-reduced, and nothing else is moved.
    """
    call = jax.jit(lambda w: [constraint(w) for constraint in constraints])
    moved = moved_between_devices(call.lower(w).compile().as_text())
    sums = 0
    for constraint in constraints if w.dtype == "float64" else ():
        axes = (constraint.axis,) if constraint.axis is not None else range(w.ndim)
        slices = math.prod(n for i, n in enumerate(w.shape) if i not in axes)
        sums += 2 * slices * 8 ** len(axes)
    assert moved <= sums, f"{moved} of {w.size} entries are moved"
    for result, entries in zip(call(w), expected, strict=True):
        compare(result, entries, w.dtype.name)
        assert result.sharding.is_equivalent_to(w.sharding, w.ndim), result.sharding


def no_gathers():
    """Of no spec and no axis are weights gathered, nor what is as large."""
    values = np.random.default_rng(2).standard_normal(8192).astype("float32")
    flat = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    flat_and_grid = ((flat, "x"), (AUTO, "xy"))
    for dtype, meshes, shape, axes in (
        ("float32", flat_and_grid, (8192,), (0, None)),
        ("float32", flat_and_grid, (32, 256), (0, 1, (0, 1), None)),
        ("float32", flat_and_grid, (32, 16, 16), (None, (0, 1))),
        ("float32", ((EXPLICIT, "xy"),), (32, 256), (0, 1, None)),
        ("float64", flat_and_grid[1:], (128, 64), (0, None)),
    ):
        w = values.reshape(shape).astype(dtype)
        many = [UnitNorm(axis) for axis in axes]
        expected = [constraint(w) for constraint in many]
        for mesh, names in meshes:
            for spec in list(spread(names, len(shape)))[:: 3 if dtype == "float64" else 1]:
                x = weight(w, dtype, NamedSharding(mesh, spec))
                yield f"{mesh} {spec} {dtype} {shape}", moves_few_entries, many, x, expected


def donated():
    """A weight may be given away: the result takes its memory."""
    for where in (jax.devices()[0], NamedSharding(AUTO, P("x", "y"))):
        for dtype in ("bfloat16", "float32", "float64"):
            for c in (*constraints(None), NonNeg()):

                def reused(c=c, dtype=dtype, where=where):
                    w = weight(MATRIX, dtype, where)
                    expected = np.asarray(c(w))
                    with warnings.catch_warnings():
                        warnings.simplefilter("error")
                        result = jax.jit(c, donate_argnums=0)(w)
                    assert w.is_deleted()
                    np.testing.assert_array_equal(np.asarray(result), expected)

                yield f"{c} {dtype} {where}", reused


def forms_that_may_change():
    for where in (NamedSharding(EXPLICIT, P("x", "y")), HOST, jax.devices()[5]):
        for dtype in ("float32", "float64"):
            w = weight(MATRIX, dtype, where)
            for constraint in (Limit(), Ball(), Halve(), Constraint()):
                name = f"{type(constraint).__name__} {dtype} {where}"
                yield name, judge, constraint, w, constraint


def host_memory():
    for dtype in ("bfloat16", "float32", "float64"):
        w = weight(MATRIX, dtype, HOST)
        for c in (
            MaxNorm(1.0),
            MinMaxNorm(0.5, 1),
            UnitNorm(),
            NonNeg(),
            MaxNorm((1, 2, 3, 4)),
        ):
            yield f"{c} {dtype}", judge, c, w, c
    c = MaxNorm(0.5, 1)
    yield (
        "radial",
        judge,
        RadialConstraint(),
        weight(KERNEL, "float32", HOST),
        RadialConstraint(),
    )
    yield "jit", judge, c, w, jax.jit(c), jax.jit(c.violation)
    yield "apply", judge, c, w, lambda w: apply(c, [w, {"b": w}])[1]["b"]
    yield "copy", judge, c, w, lambda w: c(w, copy=True)
    yield "vmap", judge, c, w, lambda w: jax.vmap(c)(w[None])[0]
    where = NamedSharding(EXPLICIT, P("x", "y"), memory_kind="pinned_host")
    yield "sharded", judge, c, weight(MATRIX, "float64", where), c
    where = NamedSharding(AUTO, P("x", "y"), memory_kind="pinned_host")
    yield "sharded", judge, c, weight(MATRIX, "float64", where), c

    def differentiated():
        found = jax.vjp(c, w)[1](w)[0]
        expected = jax.vjp(c, jnp.asarray(MATRIX))[1](jnp.asarray(MATRIX))[0]
        compare(found, np.asarray(expected), "float64")
        assert found.sharding.memory_kind == "pinned_host", found.sharding

    yield "grad", differentiated


def trees():
    places = [
        None, jax.devices()[0], jax.devices()[3], HOST,
        NamedSharding(EXPLICIT, P("x", "y")), NamedSharding(EXPLICIT, P(None, "y")),
        NamedSharding(AUTO, P("x", "y")), NamedSharding(OTHER, P("a", "b")),
    ]  # fmt: skip
    weights = {str(i): [weight(MATRIX, "float32", p)] for i, p in enumerate(places)}
    weights["kernel"] = weight(KERNEL, "float32", NamedSharding(EXPLICIT, P(None, None, "x")))

    def mapped(constraint):
        found = apply(constraint, weights)
        assert list(found) == list(weights)
        for name, w in weights.items():
            w, result = jax.tree.leaves(w)[0], jax.tree.leaves(found[name])[0]
            judge(constraint, w, lambda w, result=result: result)

    for constraint in (MaxNorm(0.5, 1), MaxNorm(0.5, 0), NonNeg()):
        yield f"{constraint}", mapped, constraint


def no_transfers():
    for device in (jax.devices()[0], jax.devices()[3]):
        w = weight(MATRIX, "float32", device)
        kernel = weight(KERNEL, "float32", device)
        cases = [(c, w) for c in (*constraints(0), NonNeg(), Constraint())]
        for c, x in [*cases, (RadialConstraint(), kernel)]:
            for how, call in {
                "call": c,
                "violation": c.violation,
                "jit": jax.jit(c),
                "apply": lambda w, c=c: apply(c, [w, w]),
            }.items():

                def guarded(x=x, call=call):
                    with jax.transfer_guard("disallow"):
                        call(x)

                yield f"{c} {how} {device}", guarded


SECTIONS = {
    function.__name__: function
    for function in (
        no_transfers,  # in a process of its own: what is done once must not transfer, too
        explicit_matrices,
        long_slices,
        explicit_kernels,
        other_meshes,
        transformed,
        no_gathers,
        donated,
        forms_that_may_change,
        host_memory,
        trees,
    )
}


def failures(section):
    found, count = [], 0
    for name, check, *arguments in SECTIONS[section]():
        count += 1
        try:
            check(*arguments)
        except Exception:
            found.append(f"{name}: {traceback.format_exc(limit=-1)}")
    return found if count else ["nothing was tried"]


if __name__ == "__main__":
    names = sys.argv[1:] or SECTIONS
    json.dump(
        list(SECTIONS) if "--list" in names else {name: failures(name) for name in names},
        sys.stdout,
    )
