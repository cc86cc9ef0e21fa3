"""What JAX's library does in particular: how it sums and compiles, and where results lie.

On one device: placed_on_jax.py has eight.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from libraries import DTYPES, bits, normal

from array_constraints import (
    Constraint,
    Elementwise,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    apply,
    reductions,
)

jax = pytest.importorskip("jax")

from array_constraints.libraries.jax import JAX as KIND  # noqa: E402
from array_constraints.libraries.jax_placement import _everywhere, together  # noqa: E402

SHAPES_AND_AXES = [
    ((13,), ()), ((13,), (0,)), ((96, 3), (0,)), ((96, 3), (0, 1)), ((2, 80), (1,)),
    ((24, 5, 12), (0, 2)), ((24, 5, 12), (1, 2)), ((24, 5, 12), (0, 1)),
    ((3, 0), (0,)), ((3, 0), (1,)), ((2, 3, 0), (0, 1)),
]  # fmt: skip


@pytest.fixture
def float64():
    """As in each call of a constraint."""
    with jax.enable_x64(True):
        yield


def whole_numbers(shape, dtype="float32"):
    return np.random.default_rng(0).integers(-2, 3, shape).astype(DTYPES[dtype])


def described(shape, dtype):
    return jax.ShapeDtypeStruct(shape, dtype)


def steps(jaxpr):
    """The operations of a program, those of its loops too."""
    for step in jaxpr.eqns:
        yield step
        for inner in step.params.values():
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from steps(getattr(inner, "jaxpr", inner))


def steps_of(function, *described):
    return list(steps(jax.make_jaxpr(function)(*described).jaxpr))


def read_by(found, name):
    """The shapes of what the operations of one name read."""
    return [step.invars[0].aval.shape for step in found if step.primitive.name == name]


def on_devices(count):
    """As where arrays are spread over so many devices: what is traced need not have them."""
    mesh = jax.sharding.AbstractMesh((count,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.sharding.use_abstract_mesh(mesh)


on_several = pytest.mark.skipif(
    not hasattr(jax.sharding, "use_abstract_mesh"), reason="this JAX has no abstract meshes"
)


@pytest.fixture(autouse=True)
def narrow_unless_asked_otherwise():
    """Turn float64 off, whatever another test of this process has left."""
    with jax.enable_x64(False):
        yield


def test_float64_is_where_it_is_enabled_and_where_an_array_has_it():
    narrow = jax.numpy.zeros(3)
    with jax.enable_x64(True):
        wide = jax.numpy.zeros(3)
        assert KIND.has_float64(narrow)
    with jax.enable_x64(False):
        assert not KIND.has_float64(narrow)
        assert KIND.has_float64(wide)


@pytest.mark.parametrize("dtype", ["int8", "int32", "float32"])
def test_what_is_less_than_zero_is_negative(dtype):
    w = np.asarray([-2, -1, 0, 1, 2], dtype)
    np.testing.assert_array_equal(KIND.negative(jax.numpy.asarray(w)), w < 0)


class TestSums:
    """Of whole numbers, which are exact in whatever order they are added."""

    @staticmethod
    def check(call, w, axes):
        found = jax.jit(call, static_argnums=1)(w, axes)
        expected = np.sum(w.astype("float64"), axis=axes, keepdims=True)
        np.testing.assert_array_equal(np.asarray(found, "float64"), expected, strict=True)

    @pytest.mark.parametrize(("shape", "axes"), SHAPES_AND_AXES, ids=str)
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_are_exact_and_keep_the_dimensions(self, float64, dtype, shape, axes):
        call = functools.partial(reductions.sum, xp=jax.numpy)
        self.check(call, whole_numbers(shape, dtype), axes)

    @pytest.mark.parametrize("shape", [(200, 3), (130, 256), (129, 4, 2)], ids=str)
    def test_of_64_rows_at_a_time(self, float64, shape):
        term = lambda x, scale: KIND.accumulated(x)  # noqa: E731
        for axes in ((0,), (0, 1)):
            call = functools.partial(KIND._rowwise_sum, term=term)
            self.check(call, whole_numbers(shape), axes)

    @pytest.mark.parametrize(("shape", "axes"), SHAPES_AND_AXES, ids=str)
    @pytest.mark.parametrize("scaled", [False, True])
    def test_of_parts_that_devices_share(self, float64, shape, axes, scaled):
        """The scale is one number for each slice."""
        w = whole_numbers(shape, "float64")
        scale = None
        if scaled:
            of_slices = tuple(1 if i in axes else n for i, n in enumerate(shape))
            scale = 2.0 ** np.random.default_rng(1).integers(0, 3, of_slices)
        multiplied = lambda x, s: x if s is None else x * s  # noqa: E731
        found = jax.jit(KIND._shardwise_sum, static_argnums=(2, 3, 4, 5))(
            w, scale, axes, multiplied, 4, 8
        )
        expected = np.sum(multiplied(w, scale), axis=axes, keepdims=True)
        np.testing.assert_array_equal(found, expected, strict=True)

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("x64", [False, True])
    def test_of_many_numbers_by_the_tree(self, x64, dtype):
        if dtype == "float64" and not x64:
            pytest.skip("no float64")
        with jax.enable_x64(x64):
            w = whole_numbers((1000,), dtype)
            add = lambda w: KIND._add(w, None, (0,), lambda x, _: KIND.accumulated(x))  # noqa: E731
            found = jax.jit(add)(w)
            assert found.dtype == ("float64" if x64 else "float32")
            np.testing.assert_array_equal(found, np.sum(w, dtype="float64", keepdims=True))


class TestMemoryOfSums:
    """What a compiled sum makes beyond the weight, as a share of it."""

    @staticmethod
    def share(shape, axes, dtype):
        call = jax.jit(functools.partial(KIND.sum, axes=axes))
        compiled = call.lower(described(shape, dtype)).compile()
        entries = np.prod(shape) * jax.numpy.dtype(dtype).itemsize
        return compiled.memory_analysis().temp_size_in_bytes / entries

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    def test_is_none_where_one_loop_adds_up_in_float64(self, float64, dtype):
        assert self.share((2**16, 4), (0,), dtype) < 1e-3
        assert self.share((2**10, 2**6, 4), (0, 1), dtype) < 1e-3

    @pytest.mark.parametrize("dtype", ["float16", "float64"])
    def test_is_a_thirty_second_where_a_tree_does(self, float64, dtype):
        assert self.share((2**16, 4), (0,), dtype) == pytest.approx(1 / 32, rel=0.04)

    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    def test_is_a_thirty_second_without_float64(self, dtype):
        with jax.enable_x64(False):
            assert self.share((2**16, 4), (0,), dtype) == pytest.approx(1 / 32, rel=0.04)

    def test_is_that_where_jax_is_so_old_that_it_has_no_abstract_meshes(
        self, float64, monkeypatch
    ):
        monkeypatch.delattr(jax.sharding, "get_abstract_mesh", raising=False)
        assert self.share((2**16, 4), (0,), "float16") == pytest.approx(1 / 32, rel=0.04)


class TestWaysOfSums:
    """What XLA is given to compile, which decides how long a sum takes."""

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    def test_leading_axes_are_summed_as_one(self, float64, dtype):
        for shape, axes in (((6, 5, 4), (0, 1)), ((6, 5, 4), (0, 1, 2)), ((6, 5), (0, 1))):
            found = steps_of(lambda x, axes=axes: KIND.sum(x, axes), described(shape, dtype))
            merged = (np.prod(shape[: len(axes)]), *shape[len(axes) :])
            assert read_by(found, "reduce_sum") == [merged]

    def test_long_columns_are_summed_64_rows_at_a_time(self, float64):
        for shape, axes in (((2**16, 2**9), (0,)), ((2**8, 2**8, 2**9), (0, 1))):
            found = steps_of(
                lambda x, axes=axes: KIND.sum(x, axes), described(shape, "float32")
            )
            assert (64, 2**9) in read_by(found, "reduce_sum")
            assert (2**16, 2**9) not in read_by(found, "reduce_sum")

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    def test_others_are_summed_at_once(self, float64, dtype):
        """Those of rows, and of few or short columns."""
        for shape, axes in (((2**16, 2**9), (1,)), ((4, 2**23), (0,)), ((2**10, 2**4), (0,))):
            found = steps_of(lambda x, axes=axes: KIND.sum(x, axes), described(shape, dtype))
            assert read_by(found, "reduce_sum") == [shape]

    @on_several
    @pytest.mark.parametrize("count", [2, 8])
    def test_each_device_adds_up_its_own_in_any_order(self, float64, count):
        for shape, axes, dtype in (
            ((64, 6), (0,), "float16"),
            ((64, 6, 2), (0, 1), "float32"),
            ((2**16, 2**9), (0,), "float32"),
        ):
            with on_devices(count):
                found = steps_of(
                    lambda x, axes=axes: KIND.sum(x, axes), described(shape, dtype)
                )
            assert read_by(found, "reduce_sum") == [shape]
            assert not read_by(found, "reshape")

    @on_several
    @pytest.mark.parametrize("count", [2, 8])
    def test_no_part_of_a_device_is_cut_by_the_tree(self, float64, count):
        with on_devices(count):
            found = steps_of(lambda x: KIND.sum(x, (0,)), described((96, 3), "float64"))
        cuts = [step for step in found if step.primitive.name == "slice"]
        first = [step for step in cuts if step.invars[0].aval.size == 96 * 3]
        assert first
        for step in first:  # a few entries of the part of each device
            assert step.outvars[0].aval.shape[1:] == (count, 3)

    def test_one_device_has_no_parts(self, float64):
        found = steps_of(lambda x: KIND.sum(x, (0,)), described((96, 3), "float64"))
        assert read_by(found, "slice")[0] == (96, 3)


class TestGradients:
    """Of the sum of a slice (3, 4) that is scaled to a norm, by it and by that norm."""

    w = np.asarray([[3.0], [4.0]], "float32")

    @staticmethod
    def total(w, bound):
        return MaxNorm(bound)(jax.numpy.asarray(w)).sum()

    @pytest.mark.parametrize("bound", [2, np.asarray(2), np.asarray([2]), 2.0], ids=repr)
    def test_by_the_weight_where_the_bound_is_traced(self, bound):
        """Whole numbers have no tangent."""
        for derivative in (jax.grad, jax.jacfwd):
            found = jax.jit(derivative(self.total))(self.w, bound)
            expected = 2 / 5 - 2 * self.w * 7 / 125
            np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_by_the_bound(self):
        for derivative in (jax.grad, jax.jacfwd):
            found = jax.jit(derivative(self.total, argnums=1))
            assert float(found(self.w, 2.0)) == pytest.approx(7 / 5, rel=1e-6)
            assert float(found(self.w, 6.0)) == 0

    def test_along_both(self):
        along = jax.jit(lambda *moves: jax.jvp(self.total, (self.w, 2.0), moves)[1])
        moved = along(np.ones_like(self.w), 1.0)
        expected = (2 / 5 - 2 * self.w * 7 / 125).sum() + 7 / 5
        assert float(moved) == pytest.approx(expected, rel=1e-5)


class Elsewhere(Constraint):
    """One whose results are in float64, in device memory, on no mesh."""

    def __call__(self, w, *, copy=None):
        with jax.enable_x64(True):
            return jax.numpy.asarray(np.asarray(w, "float64") / 2)


class TestDtypes:
    """A violation is in float64 where that is enabled, and else as narrow as float32."""

    @pytest.mark.parametrize("x64", [False, True])
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_of_violations_and_of_results(self, x64, dtype):
        with jax.enable_x64(True):
            w = jax.numpy.asarray(normal((4, 3), dtype))
        with jax.enable_x64(x64):
            for constraint in (MaxNorm(0.5), NonNeg(), Elsewhere()):
                narrow = not x64 and dtype != "float64"
                found = constraint.violation(w)
                assert found.dtype == ("float32" if narrow else "float64")
            for constraint in (MaxNorm(0.5), NonNeg()):
                assert constraint(w).dtype == dtype

    def test_violations_below_the_normal_numbers_are_the_smallest_of_them(self):
        """XLA takes those below for zeros."""
        least = 2.0**-126
        excess = np.asarray([0.0, 2.0**-149, least / 8, least, 1.5 * least, 0.5])
        bounds = np.asarray([least] * 5 + [0.25])
        w = np.stack([bounds + excess, np.zeros(6)]).astype("float32")
        with jax.enable_x64(False):
            found = MaxNorm(tuple(bounds)).violation(jax.numpy.asarray(w))
        expected = np.where(excess > 0, np.maximum(excess, least), 0.0)
        np.testing.assert_array_equal(found, expected[None].astype("float32"), strict=True)


class Limit(Elementwise):
    """A form that may change, so that JAX runs it operation by operation."""

    def project(self, w, xp):
        return xp.minimum(w, xp.full_like(w, 0.1))

    def excess(self, w, xp):
        return xp.maximum(w - 0.1, xp.zeros_like(w))


class TestPlaces:
    """On one device: meshes, memories and how what is computed there is sharded."""

    matrix = normal((8, 4))

    @pytest.fixture(autouse=True)
    def explicit_meshes(self):
        if not hasattr(jax.sharding, "auto_axes"):
            pytest.skip("this JAX has no explicit meshes")

    def weight(self, *parts, kind="Explicit", names="xy", memory="device"):
        kinds = (getattr(jax.sharding.AxisType, kind),) * 2
        mesh = jax.make_mesh((1, 1), tuple(names), axis_types=kinds)
        spec = jax.sharding.PartitionSpec(*parts)
        place = jax.sharding.NamedSharding(mesh, spec, memory_kind=memory)
        return jax.device_put(self.matrix, place)

    def offloaded(self):
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0], memory_kind="pinned_host")
        return jax.device_put(self.matrix, place)

    def judge(self, constraint, w):
        found = constraint(w)
        np.testing.assert_allclose(found, constraint(self.matrix), rtol=1e-6)
        assert found.dtype == w.dtype
        assert found.sharding.is_equivalent_to(w.sharding, w.ndim)
        assert found.sharding.memory_kind == w.sharding.memory_kind
        violation = constraint.violation(w)
        expected = constraint.violation(self.matrix)
        np.testing.assert_allclose(violation, expected, rtol=1e-6, atol=1e-7)
        assert violation.sharding.memory_kind == w.sharding.memory_kind
        return violation

    @pytest.mark.parametrize("axis", [0, 1, None])
    def test_violations_of_slices_are_sharded_along_the_dimensions_that_remain(self, axis):
        w = self.weight("x", "y")
        violation = self.judge(MaxNorm(1.0, axis), w)
        kept = [None if axis in (i, None) else name for i, name in enumerate("xy")]
        assert tuple(violation.sharding.spec) == tuple(kept)

    @pytest.mark.parametrize("parts", [("x",), (None, "y"), (("x", "y"),), ()], ids=str)
    def test_weights_are_sharded_along_some_dimensions(self, parts):
        self.judge(MaxNorm(1.0), self.weight(*parts))

    @pytest.mark.parametrize("kind", ["Auto", "Explicit"])
    def test_weights_of_a_mesh_may_lie_in_host_memory(self, kind):
        self.judge(MaxNorm(1.0), self.weight("x", "y", kind=kind, memory="pinned_host"))

    def test_weights_may_lie_in_host_memory(self):
        for constraint in (MaxNorm((0.5, 1.0, 2.0, 1e3)), NonNeg()):
            self.judge(constraint, self.offloaded())

    def test_weights_of_a_form_that_may_change(self):
        for w in (self.offloaded(), self.weight("x", "y")):
            self.judge(Limit(), w)

    def test_weights_of_a_jax_so_old_that_arrays_have_no_types(self, monkeypatch):
        monkeypatch.delattr(jax, "typeof", raising=False)
        for constraint in (Limit(), MaxNorm(1.0)):
            self.judge(constraint, jax.numpy.asarray(self.matrix))

    def test_violations_lie_where_the_weight_lies_wherever_its_image_is(self):
        for w in (self.offloaded(), self.weight("x", "y")):
            violation = Elsewhere().violation(w)
            assert violation.dtype == w.dtype
            assert violation.sharding.is_equivalent_to(w.sharding, w.ndim)
            assert violation.sharding.memory_kind == w.sharding.memory_kind
            np.testing.assert_allclose(violation, np.abs(self.matrix) / 2, rtol=1e-6)

    def test_arrays_of_one_mesh_or_device_are_compiled_together(self):
        auto, alone = self.weight("x", kind="Auto"), jax.numpy.asarray(self.matrix)
        first, second = self.weight("x"), self.weight("a", names="ab")
        weights = [alone, first, self.offloaded(), second, self.weight(None, "y"), auto]
        assert [list(each) for each in together(weights)] == [[0, 2], [1, 4], [3], [5]]
        assert [list(each) for each in together([first, second])] == [[0], [1]]
        assert [list(each) for each in together([first, first])] == [[0, 1]]
        for w, found in zip(weights, apply(MaxNorm(1.0), weights), strict=True):
            assert bits(np.asarray(found)) == bits(np.asarray(MaxNorm(1.0)(w)))
            assert found.sharding.is_equivalent_to(w.sharding, w.ndim)
            assert found.sharding.memory_kind == w.sharding.memory_kind

    def test_a_number_lies_on_the_devices_of_the_weight_if_a_mesh_names_them(self):
        alone, meshed = self.offloaded().sharding, self.weight("x").sharding
        assert _everywhere(alone).device_set == alone.device_set
        assert _everywhere(meshed).device_set == meshed.device_set

        class Several(jax.sharding.Sharding):  # older versions of JAX have such
            device_set = frozenset({0, 1})

        assert _everywhere(Several()) is None

    @pytest.mark.parametrize("bound", [1.0, (0.5, 1.0, 2.0, 3.0)])
    def test_bounds_are_brought_to_the_device_once(self, bound):
        constraint = MaxNorm(bound)
        for w in (jax.numpy.asarray(self.matrix), self.weight("x", "y")):
            constraint(w)
            constraint.violation(w)
            with jax.transfer_guard("disallow"):
                constraint(w)
                constraint.violation(w)
                apply(constraint, [w, w])


def test_a_traced_bound_has_no_dimension_or_one_where_each_slice_may_have_its_own():
    w = jax.numpy.ones((2, 2))
    per_slice = jax.jit(lambda m: MaxNorm(m)(w))(jax.numpy.asarray([1.0, 2.0]))
    np.testing.assert_allclose(np.linalg.norm(per_slice, axis=0), [1, 2**0.5], rtol=1e-6)
    for name, make, bound in (
        ("max_value", MaxNorm, jax.numpy.ones((2, 2))),
        ("min_value", lambda m: MinMaxNorm(m, 2.0), jax.numpy.ones(2)),
        ("rate", lambda m: MinMaxNorm(0.5, 2.0, m), jax.numpy.ones(2)),
    ):
        with pytest.raises(TypeError, match=f"{name} must be a real number"):
            jax.jit(lambda m, make=make: make(m)(w))(bound)


def test_one_bound_is_traced_and_the_other_a_number():
    w = jax.numpy.asarray([[3.0, 0.3], [4.0, 0.4]])
    below = jax.jit(lambda m: MinMaxNorm(m, 2.0)(w))(1.0)
    above = jax.jit(lambda m: MinMaxNorm(1.0, m)(w))(2.0)
    for found in (below, above):
        np.testing.assert_allclose(np.linalg.norm(found, axis=0), [2, 1], rtol=1e-6)
