"""Lazy, traced and compiled arrays: no value is looked at, nothing is computed early."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from libraries import DTYPES, JAX, JAX_X64, ROUNDOFF, bits

from array_constraints import (
    Constraint,
    Elementwise,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    RadialConstraint,
    UnitNorm,
    apply,
)

CONSTRAINTS = [
    MaxNorm(1.0),
    MinMaxNorm(0.5, 1.0),
    MinMaxNorm(0.5, 1, 0.3),
    UnitNorm(),
    NonNeg(),
]
every_constraint = pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)


def normal(shape, dtype="float32"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@every_constraint
class TestDask:
    @pytest.fixture
    def da(self):
        return pytest.importorskip("dask.array")

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    def test_nothing_is_computed_and_chunks_and_meta_are_kept(self, da, constraint, dtype):
        import dask

        def refuse(*args, **kwargs):
            raise AssertionError("computed while the graph was built")

        w = da.from_array(normal((40, 30), DTYPES[dtype]), chunks=(13, 7))
        with dask.config.set(scheduler=refuse):
            result, violation = constraint(w), constraint.violation(w)
        assert result.chunks == w.chunks
        assert result.dtype == result._meta.dtype == w.dtype
        assert type(result._meta) is np.ndarray
        assert violation._meta.dtype == violation.compute(scheduler="synchronous").dtype

    @pytest.mark.parametrize("axis", [0, 1, None, (0, 1)])
    @pytest.mark.parametrize(
        ("dtype", "limit"), [("float32", 5), ("float16", 5), ("bfloat16", 5), ("float64", 10)]
    )
    def test_tasks_per_chunk(self, da, constraint, axis, dtype, limit):
        import dask

        w = (
            da.random.default_rng(0)
            .normal(size=(400, 400), chunks=(50, 50))
            .astype(DTYPES[dtype])
        )
        w = w.persist(scheduler="synchronous")
        if constraint != NonNeg():
            constraint = type(constraint)(**{**vars(constraint), "axis": axis})
        (optimised,) = dask.optimize(constraint(w))
        assert len(dict(optimised.__dask_graph__())) <= limit * w.npartitions

    @pytest.mark.parametrize("threshold", [0.0, 1.5])  # the second empties some chunks
    def test_unknown_chunk_sizes(self, da, constraint, threshold):
        w = normal((60, 6))
        lazy = da.from_array(w, chunks=(10, 3))
        for dtype in ("float32", "float64"):
            for axis in (0, 1, None):
                if constraint != NonNeg():
                    constraint = type(constraint)(**{**vars(constraint), "axis": axis})
                some = lazy[lazy[:, 0] > threshold].astype(dtype)
                expected = w[w[:, 0] > threshold].astype(dtype)
                result = constraint(some).compute(scheduler="synchronous")
                np.testing.assert_allclose(result, constraint(expected), rtol=1e-6)
                violation = constraint.violation(some).compute(scheduler="synchronous")
                np.testing.assert_allclose(
                    violation, constraint.violation(expected), rtol=1e-6, atol=1e-12
                )


@pytest.mark.parametrize("library", [JAX, JAX_X64], ids=str)
class TestJax:
    @pytest.fixture(autouse=True)
    def mode(self, library):
        with library.active():
            yield

    @every_constraint
    def test_jit_vmap_and_eval_shape(self, library, constraint):
        import jax

        for dtype in library.dtypes:
            w = library.array(normal((6, 4)).astype("float32")).astype(dtype)
            eager = library.numpy(constraint(w))
            assert bits(library.numpy(jax.jit(constraint)(w))) == bits(eager)
            batch = jax.vmap(constraint)(jax.numpy.stack([w, w]))
            assert bits(library.numpy(batch[1])) == bits(eager)
            shape = jax.eval_shape(constraint, w)
            assert (shape.shape, shape.dtype) == (w.shape, w.dtype)

    @pytest.mark.parametrize(
        ("shape", "axis"), [((1024, 256), 0), ((257, 1031), 1), ((3, 3, 64, 64), (0, 1, 2))]
    )
    def test_temporaries_are_a_twentieth_of_the_weight(self, library, shape, axis):
        import jax

        for dtype in library.dtypes:
            for constraint in (MaxNorm(2, axis), UnitNorm(axis), MinMaxNorm(0.5, 1, 0.9, axis)):
                weight = jax.ShapeDtypeStruct(shape, dtype)
                memory = jax.jit(constraint).lower(weight).compile().memory_analysis()
                size = np.prod(shape) * jax.numpy.dtype(dtype).itemsize
                assert memory.temp_size_in_bytes <= 0.05 * size

    @every_constraint
    def test_gradients_pass_through_jit(self, library, constraint):
        import jax

        w = library.array(normal((6, 4)))
        grad = jax.jit(jax.grad(lambda w: constraint(w).sum()))(w)
        assert np.isfinite(library.numpy(grad)).all()


HUGE = np.asarray([[1e300, 1e-300, 0.1, 3.0], [1 + 1e-12, 1e-200, 0.2, -4.0]])
KERNEL = np.arange(18.0).reshape(3, 3, 2, 1) * 1e299
FLOAT64 = [
    (MaxNorm((1.0, 2.0, 3.0, np.inf)), HUGE),
    (MinMaxNorm(0.5, 1, 0.3), HUGE),
    (UnitNorm(None), HUGE),
    (NonNeg(), HUGE),
    (Constraint(), HUGE),
    (RadialConstraint(), KERNEL),
]


@pytest.mark.parametrize(("constraint", "values"), FLOAT64, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("how", ["asked for", "made with x64"])
class TestJaxFloat64WithoutX64:
    """An array may have float64 though ``jax_enable_x64`` is off: results are those with it."""

    @pytest.fixture
    def w(self, how, values):
        jax = pytest.importorskip("jax")
        if how == "asked for" and not hasattr(jax.config, "jax_explicit_x64_dtypes"):
            pytest.skip("this JAX makes no float64 without x64")
        if how == "asked for":
            with jax.enable_x64(False):
                before = jax.config.jax_explicit_x64_dtypes
                jax.config.update("jax_explicit_x64_dtypes", "allow")
                yield jax.numpy.asarray(values, dtype="float64")
                jax.config.update("jax_explicit_x64_dtypes", before)
        else:
            with jax.enable_x64(True):
                w = jax.numpy.asarray(values)
            with jax.enable_x64(False):
                yield w

    @staticmethod
    def same(found, expected):
        assert found.dtype == "float64"
        assert bits(np.asarray(found)) == bits(np.asarray(expected))

    def test_calls_keep_it(self, constraint, w):
        import jax

        with jax.enable_x64(True):
            expected = constraint(jax.numpy.asarray(np.asarray(w)))
        for call in (
            constraint,
            lambda w: constraint(w, copy=True),
            jax.jit(constraint),
            lambda w: apply(constraint, {"a": [w]})["a"][0],
            lambda w: jax.vmap(constraint)(jax.numpy.expand_dims(w, 0))[0],
        ):
            self.same(call(w), expected)

    def test_violations_have_it(self, constraint, w):
        import jax

        with jax.enable_x64(True):
            expected = constraint.violation(jax.numpy.asarray(np.asarray(w)))
        for call in (constraint.violation, jax.jit(constraint.violation)):
            self.same(call(w), expected)

    def test_gradients_have_it(self, constraint, w):
        import jax

        def pulled_back(w):
            return jax.vjp(constraint, w)[1](w)[0]

        with jax.enable_x64(True):
            expected = pulled_back(jax.numpy.asarray(np.asarray(w)))
        self.same(pulled_back(w), expected)


def test_jax_violations_of_narrower_weights_are_float32_without_x64():
    with JAX.active():
        for dtype in JAX.dtypes:
            w = JAX.array(normal((4, 2)).astype("float32")).astype(dtype)
            for constraint in (*CONSTRAINTS, Constraint()):
                assert constraint(w).dtype == dtype
                assert constraint.violation(w).dtype == "float32"


def test_jax_sees_the_changes_of_a_mutable_form():
    class Limit(Elementwise):
        upper = 1.0

        def project(self, w, xp):
            return xp.minimum(w, xp.full_like(w, self.upper))

        def excess(self, w, xp):
            return xp.maximum(w - self.upper, xp.zeros_like(w))

    with JAX.active():
        w, limit = JAX.array(normal((4, 2)) + 9), Limit()
        assert (JAX.numpy(limit(w)) == 1).all()
        limit.upper = 3.0
        assert (JAX.numpy(limit(w)) == 3).all()


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    @staticmethod
    def assert_agree(a, b):
        """Within twice the tolerance of the contract, at most 64 entries per slice."""
        import torch

        name = str(a.dtype).rpartition(".")[2]
        assert a.dtype == b.dtype
        tolerance = {"bfloat16": 2 * 2.05}.get(name, 2 * (12 + 1.5 * 6)) * ROUNDOFF[name]
        torch.testing.assert_close(a, b, rtol=tolerance, atol=0)

    @every_constraint
    @pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
    def test_compile_fullgraph(self, torch, constraint, dtype):
        torch.compiler.reset()
        w = torch.from_numpy(normal((33, 4))).to(getattr(torch, dtype))
        compiled = torch.compile(constraint, fullgraph=True, backend="aot_eager")
        self.assert_agree(compiled(w), constraint(w))
        violation = torch.compile(constraint.violation, fullgraph=True, backend="aot_eager")
        self.assert_agree(violation(w) + 1, constraint.violation(w) + 1)  # of the norm

    @pytest.mark.parametrize("constraint", [*CONSTRAINTS, MaxNorm((1, 2, 3, 4))], ids=repr)
    def test_compile_for_several_shapes_and_a_parameter(self, torch, constraint):
        torch.compiler.reset()
        compiled = torch.compile(constraint, fullgraph=True, backend="aot_eager")
        for rows in (5, 7, 9):
            w = torch.from_numpy(normal((rows, 4), "float64"))
            self.assert_agree(compiled(w), constraint(w))
        parameter = torch.nn.Parameter(w)
        self.assert_agree(compiled(parameter), constraint(w))

    @every_constraint
    def test_compile_and_write_in_place(self, torch, constraint):
        torch.compiler.reset()
        w = torch.from_numpy(normal((33, 4)))
        expected = constraint(w)
        write = torch.compile(
            lambda w: constraint(w, copy=False), fullgraph=True, backend="aot_eager"
        )
        write(w)
        self.assert_agree(w, expected)

    def test_compile_with_inductor(self, torch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing inductor warns of torch's own accord
            import torch._inductor.compile_fx
        torch.compiler.reset()
        w = torch.from_numpy(normal((33, 4)))
        compiled = torch.compile(MaxNorm(1.0), fullgraph=True)
        self.assert_agree(compiled(w), MaxNorm(1.0)(w))

    @every_constraint
    def test_vmap_and_functional_gradients(self, torch, constraint):
        w = torch.from_numpy(normal((5, 6, 4)))
        batch = torch.func.vmap(constraint)(w)
        self.assert_agree(batch, torch.stack([constraint(x) for x in w]))
        grad = torch.func.vmap(torch.func.grad(lambda w: constraint(w).sum()))(w)
        assert torch.isfinite(grad).all()

    @every_constraint
    def test_meta_tensors_stay_on_meta(self, torch, constraint):
        w = torch.empty(5, 3, device="meta", dtype=torch.bfloat16)
        result = constraint(w)
        assert result.device.type == "meta"
        assert (result.shape, result.dtype) == (w.shape, w.dtype)
        assert constraint.violation(w).device.type == "meta"

    @every_constraint
    def test_inference_mode_and_parameters(self, torch, constraint):
        w = torch.from_numpy(normal((5, 3)))
        with torch.inference_mode():
            assert torch.equal(constraint(w), constraint(w.clone()))
        parameter = torch.nn.Parameter(w.clone())
        constraint(parameter).sum().backward()
        assert torch.isfinite(parameter.grad).all()
        with torch.no_grad():
            constraint(parameter, copy=False)
        assert torch.equal(parameter, constraint(w))

    def test_channels_last_and_transposed(self, torch):
        w = torch.from_numpy(normal((4, 3, 5, 6)))
        expected = MaxNorm(1, (1, 2, 3))(w)
        last = w.to(memory_format=torch.channels_last)
        torch.testing.assert_close(MaxNorm(1, (1, 2, 3))(last), expected, rtol=2e-7, atol=0)
        torch.testing.assert_close(
            MaxNorm(1, 0)(w[0, 0].T), MaxNorm(1, 1)(w[0, 0]).T, rtol=2e-7, atol=0
        )


def test_a_radial_kernel_is_lazy_too(library):
    w = library.array(normal((5, 5, 2, 2)))
    result = library.numpy(RadialConstraint()(w))
    np.testing.assert_array_equal(result[0, 0], library.numpy(w)[4, 4])
