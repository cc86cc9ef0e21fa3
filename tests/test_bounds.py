"""Bounds are data: a schedule compiles once, and a traced bound works as a number does."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from libraries import DTYPES, JAX, JAX_X64, TORCH, bits, installed
from test_forms import L1Ball

from array_constraints import (
    MaxNorm,
    MinMaxNorm,
    UnitNorm,
    apply,
)

SCHEDULES = {
    "radius": MaxNorm,
    "annulus": lambda b: MinMaxNorm(b / 2, b),
    "rate": lambda b: MinMaxNorm(b / 2, b, b / 9),
    "point": lambda b: MinMaxNorm(b, b),
    "radii": lambda b: MaxNorm(tuple(b + i / 8 for i in range(4))),
    "size of one's own": L1Ball,
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def normal(dtype="float32"):
    return (3 * np.random.default_rng(0).standard_normal((6, 4))).astype(DTYPES[dtype])


def resident() -> int:
    """Return the bytes of memory that the process holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


class TestJax:
    @every_schedule
    @pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
    def test_a_schedule_of_a_thousand_bounds_is_compiled_once(self, schedule, dtype):
        pytest.importorskip("jax")
        from array_constraints.executors import whole
        from array_constraints.libraries.jax import _jitted

        library = JAX_X64 if dtype == "float64" else JAX
        with library.active():
            w = library.array(normal(dtype))
            before = {f: _jitted(f)._cache_size() for f in (whole.project, whole.violation)}
            for step in range(20):  # the allocator has then what it needs
                schedule(0.5 + step / 10)(w)
                schedule(0.5 + step / 10).violation(w)
            gc.collect()
            held = resident()
            for step in range(1000):
                schedule(0.5 + step / 1000)(w)
            gc.collect()
            assert resident() - held < 2**22  # a program takes half of that
            for function, count in before.items():
                assert _jitted(function)._cache_size() - count <= 1

    @every_schedule
    def test_many_weights_are_compiled_once_too(self, schedule):
        pytest.importorskip("jax")
        from array_constraints.libraries.jax import _jitted_map

        library = JAX
        with library.active():
            weights = [library.array(normal()), library.array(2 * normal())]
            apply(schedule(0.5), weights)
            before = _jitted_map()._cache_size()
            for step in range(30):
                apply(schedule(0.5 + step / 10), weights)
            assert _jitted_map()._cache_size() == before

    @every_schedule
    def test_eager_calls_and_those_within_jit_agree_bit_for_bit(self, schedule):
        jax, library = pytest.importorskip("jax"), JAX_X64
        with library.active():
            w, c = library.array(normal()), schedule(0.75)
            for method in (c, c.violation):
                found = library.numpy(jax.jit(method)(w))
                assert bits(found) == bits(library.numpy(method(w)))

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize(
        "make",
        [MaxNorm, lambda m: MinMaxNorm(m / 4, m), lambda m: MinMaxNorm(m, m, 0.5), L1Ball],
    )
    def test_a_traced_bound_works_as_a_number_does(self, make, dtype):
        jax, library = pytest.importorskip("jax"), JAX_X64
        with library.active():
            w = library.array(normal(dtype))
            call = jax.jit(lambda w, m: make(m)(w))
            violation = jax.jit(lambda w, m: make(m).violation(w))
            for bound in (0.0, 2.0**-20, 0.5, 2.0, 2.0**20):
                expected = library.numpy(make(bound)(w))
                assert bits(library.numpy(call(w, bound))) == bits(expected)
                expected = library.numpy(make(bound).violation(w))
                assert bits(library.numpy(violation(w, bound))) == bits(expected)
            assert call._cache_size() == 1

    def test_one_traced_bound_for_each_slice(self):
        jax, library = pytest.importorskip("jax"), JAX_X64
        with library.active():
            w, radii = library.array(normal()), np.asarray([0.5, np.inf, 1.0, 0.0])
            found = jax.jit(lambda w, m: MaxNorm(m)(w))(w, radii)
            assert bits(library.numpy(found)) == bits(library.numpy(MaxNorm(tuple(radii))(w)))
            with pytest.raises(ValueError, match="max_value has 3 entries"):
                jax.jit(lambda w, m: MaxNorm(m)(w))(w, radii[:3])

    def test_a_schedule_within_scan(self):
        jax, library = pytest.importorskip("jax"), JAX_X64
        with library.active():
            radii = np.linspace(2, 1, 5)

            def step(w, radius):
                w = MaxNorm(radius)(w * 1.5)
                return w, MaxNorm(radius).violation(w).max()

            last, violations = jax.lax.scan(step, library.array(normal("float64")), radii)
            assert not library.numpy(violations).any()
            norms = np.linalg.norm(library.numpy(last), axis=0)
            np.testing.assert_allclose(norms, 1, rtol=1e-14)

    def test_gradients_by_the_weight_and_by_the_bound(self):
        """Of the squares of slices on the sphere of a radius, four of them: 2 radius each."""
        jax, library = pytest.importorskip("jax"), JAX_X64
        with library.active():
            w = library.array(normal("float64"))
            for c, radius in (
                (MaxNorm, 1.0),
                (lambda m: MinMaxNorm(m, np.inf), 40.0),
                (lambda m: MinMaxNorm(m, m), 40.0),
            ):

                def squares(w, m, c=c):
                    return (c(m)(w) ** 2).sum()

                by_weight, by_bound = jax.grad(squares, argnums=(0, 1))(w, radius)
                assert float(by_bound) == pytest.approx(4 * 2 * radius, rel=1e-12)
                stated = jax.grad(squares)(w, radius)  # the bound is a number
                np.testing.assert_allclose(by_weight, stated, atol=1e-12)
            kept = jax.grad(lambda m: (MaxNorm(m)(w) ** 2).sum())(1e3)
            assert float(kept) == 0

    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_derivatives_in_every_mode_and_of_every_order(self, dtype):
        """By a bound that is a Python number, too, of which the dtype is another."""
        jax = pytest.importorskip("jax")
        with JAX.active():
            w = JAX.array(normal(dtype))

            def total(m, make=MaxNorm):
                return make(m)(w).sum()

            for make in (MaxNorm, lambda m: MinMaxNorm(m, 2 * m, m / 4), L1Ball):
                reverse = float(jax.grad(total)(1.0, make))
                for forward in (
                    jax.jacfwd(total)(1.0, make),
                    jax.jvp(lambda m, make=make: total(m, make), (1.0,), (1.0,))[1],
                    jax.jit(jax.jacfwd(total), static_argnums=1)(1.0, make),
                ):
                    assert float(forward) == pytest.approx(reverse, rel=1e-2)
            assert float(jax.hessian(total)(1.0)) == pytest.approx(0, abs=1e-2)

    def test_the_value_of_a_traced_bound_is_not_judged_but_its_dtype(self):
        jax, library = pytest.importorskip("jax"), JAX_X64
        with library.active():
            w = library.array(normal())
            jax.jit(lambda m: MaxNorm(m)(w))(-1.0)
            for wrong in (True, 1j):
                with pytest.raises(TypeError, match="max_value must be a real number"):
                    jax.jit(lambda m: MaxNorm(m)(w))(wrong)


@pytest.mark.skipif(not installed(TORCH), reason="torch is not installed")
class TestTorch:
    @pytest.fixture(autouse=True)
    def nothing_compiled_before(self):
        import torch

        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    @staticmethod
    def compiled(function, **options):
        import torch
        from torch._dynamo.testing import CompileCounterWithBackend

        counter = CompileCounterWithBackend("eager")
        return torch.compile(function, backend=counter, fullgraph=True, **options), counter

    @every_schedule
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("method", ["__call__", "violation"])
    def test_a_schedule_makes_two_graphs_at_most(self, schedule, dtype, method):
        """One for the first bound, and one for all others."""
        w = TORCH.array(normal(dtype))
        call, counter = self.compiled(lambda w, c: getattr(c, method)(w))
        for step in range(12):
            c = schedule(0.5 + step / 10)
            expected = TORCH.numpy(getattr(c, method)(w))
            np.testing.assert_allclose(TORCH.numpy(call(w, c)), expected, rtol=1e-6)
        assert counter.frame_count == 2

    @every_schedule
    def test_dynamic_from_the_start(self, schedule):
        w = TORCH.array(normal())
        call, counter = self.compiled(lambda w, c: c(w), dynamic=True)
        for bound in (0.5, 0.75):
            expected = TORCH.numpy(schedule(bound)(w))
            np.testing.assert_allclose(
                TORCH.numpy(call(w, schedule(bound))), expected, rtol=1e-6
            )
        assert counter.frame_count <= 2

    @pytest.mark.parametrize("axis", [2, -1, (0, 2), (-1, -2), None])
    def test_an_axis_stays_what_it_is_where_sizes_are_symbols(self, axis):
        w = TORCH.array(np.arange(60, dtype="float32").reshape(3, 4, 5) - 30)
        call, _ = self.compiled(lambda w, c: c(w), dynamic=True)
        slices = 12 if axis in (2, -1) else {(0, 2): 4, (-1, -2): 3, None: 1}[axis]
        for c in (MaxNorm(1.5, axis), MaxNorm((1.5,) * slices, axis), L1Ball(1.5, axis)):
            expected = TORCH.numpy(c(w))
            np.testing.assert_allclose(TORCH.numpy(call(w, c)), expected, rtol=1e-6)

    def test_a_form_that_is_made_where_it_is_traced(self):
        w = TORCH.array(normal())
        call, counter = self.compiled(lambda w, m: MaxNorm(m)(w))
        for bound in (0.5, 0.75, 1.25, 1e3):
            expected = TORCH.numpy(MaxNorm(bound)(w))
            np.testing.assert_allclose(TORCH.numpy(call(w, bound)), expected, rtol=1e-6)
        assert counter.frame_count == 2

    def test_a_tensor_is_a_traced_bound(self):
        import torch

        w = TORCH.array(normal())
        call, counter = self.compiled(lambda w, m: MaxNorm(m)(w))
        for bound in (0.5, 2.0, 1e3):
            expected = TORCH.numpy(MaxNorm(bound)(w))
            found = call(w, torch.tensor(bound))
            np.testing.assert_allclose(TORCH.numpy(found), expected, rtol=1e-6)
        assert counter.frame_count == 1


def test_bounds_of_one_structure_do_not_share_results():
    """What is kept for one bound is not taken for another."""
    w = normal()
    for _ in range(2):
        for bound in (0.5, 1, 1.0, 9):
            for schedule in SCHEDULES.values():
                assert not schedule(bound).violation(w).any() or schedule(bound)(w) is not w
    assert MaxNorm(1e4)(w) is w
    assert UnitNorm()(w) is not w
