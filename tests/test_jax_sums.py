"""How JAX's library sums: what XLA is given to compile, and what it makes in memory."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from libraries import DTYPES

from array_constraints import reductions

jax = pytest.importorskip("jax")

from array_constraints.libraries.jax import JAX as KIND  # noqa: E402

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
    def test_axes_are_not_merged(self, float64, dtype):
        """XLA would gather a sharded one, and merges them itself where that is faster."""
        for shape, axes in (((6, 5, 4), (0, 1)), ((6, 5, 4), (0, 1, 2)), ((6, 5), (0, 1))):
            found = steps_of(lambda x, axes=axes: KIND.sum(x, axes), described(shape, dtype))
            assert read_by(found, "reduce_sum") == [shape]
            assert not read_by(found, "reshape")

    @pytest.mark.parametrize(("platform", "loops"), [("cpu", 1), ("cuda", 0)])
    def test_long_columns_are_summed_64_rows_at_a_time_on_cpus(self, float64, platform, loops):
        call = jax.jit(lambda x: KIND.sum(x, (0,)))
        traced = call.trace(described((2**16, 2**9), "float32"))
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.while") == loops

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    def test_others_are_summed_at_once(self, float64, dtype):
        """Those of rows, of few or short columns, of several axes, and of one dimension."""
        for shape, axes in (
            ((2**16, 2**9), (1,)), ((2**16, 2**9), (0, 1)), ((4, 2**23), (0,)),
            ((2**10, 2**4), (0,)), ((2**8, 2**8, 2**9), (0, 1)), ((2**23,), (0,)),
        ):  # fmt: skip
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
