"""Sparse slices: examples worked by hand, brute force, and derivatives on every library."""

from __future__ import annotations

import math

import numpy as np
import pytest
from libraries import DTYPES, JAX_X64, LIBRARIES_AND_DTYPES, TORCH, bits

from array_constraints import Sparse, deserialize, get, serialize
from array_constraints.executors.dask import project


@pytest.fixture(params=LIBRARIES_AND_DTYPES, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def library_and_dtype(request):
    library, dtype = request.param
    with library.active():
        yield library, dtype


def weights(dtype: str) -> np.ndarray:
    """Return small numbers with many ties, an infinity, a slice with NaN, and one of zeros."""
    w = np.random.default_rng(1).integers(-3, 4, (7, 6, 5)).astype(DTYPES[dtype])
    w[2, 3, 1], w[0, 1, 1] = np.inf, np.nan
    w[:, 4, :] = -0.0
    return w


def by_sorting(w: np.ndarray, k: int, axes: tuple[int, ...]) -> np.ndarray:
    """Return the nearest point, slice by slice, by a stable sort."""
    way = [i for i in range(w.ndim) if i not in axes] + list(axes)
    turned = w.transpose(way)
    rows = turned.reshape(-1, math.prod(w.shape[i] for i in axes)).copy()
    for row in rows:
        size = np.abs(row.astype(np.float64))
        if not np.isnan(size).any() and np.count_nonzero(size) > k:
            row[np.argsort(-size, kind="stable")[k:]] = 0
    return rows.reshape(turned.shape).transpose(np.argsort(way))


class TestEveryLibrary:
    @pytest.mark.parametrize("k", [0, 3])
    def test_keeps_the_largest_and_the_first_of_equal_ones(self, k, library_and_dtype):
        library, dtype = library_and_dtype
        w = weights(dtype)
        for axis, axes in ((0, (0,)), (None, (0, 1, 2)), ((-1, 0), (0, 2))):
            constraint, expected = Sparse(k, axis=axis), by_sorting(w, k, axes)
            found, violation = library.values(
                constraint(library.array(w)), constraint.violation(library.array(w))
            )
            assert bits(found) == bits(expected)
            again = library.values(constraint(library.array(found)))[0]
            assert bits(again) == bits(found)
            nan = np.isnan(w.astype(np.float64)).any(axis=axes, keepdims=True)
            count = (w.astype(np.float64) != 0).sum(axis=axes, keepdims=True)
            count = np.where(nan, np.nan, np.maximum(count - k, 0))
            np.testing.assert_array_equal(violation.astype(np.float64), count)


class TestExamples:
    def test_a_share_is_rounded_with_halves_up(self):
        for density, n, kept in (
            (0.5, 5, 3),
            (0.3, 5, 2),
            (0.25, 5, 1),
            (0.0, 5, 0),
            (1, 5, 5),
        ):
            found = Sparse(density=density)(np.arange(1.0, n + 1))
            assert np.count_nonzero(found) == kept

    def test_what_is_allowed_is_the_weight_itself(self):
        w = np.asarray([[-0.0, 1.0, 5e-324], [2.0, -0.0, 0.0]])
        assert Sparse(1)(w) is w
        assert Sparse(0, axis=1)(np.zeros((0, 3))).shape == (0, 3)

    def test_what_is_dropped_becomes_plus_zero(self):
        found = Sparse(1)(np.asarray([-1.0, -0.0, -2.0]))
        assert bits(found) == bits(np.asarray([0.0, 0.0, -2.0]))

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("library", ["numpy", "torch"])
    def test_blocks_of_many_slices_and_long_ones(self, library, order):
        w = np.random.default_rng(0).standard_normal((700, 600)).astype("f4").round(1)
        w = np.asarray(w, order=order)
        for axis, axes in ((0, (0,)), (1, (1,)), (None, (0, 1))):
            expected = by_sorting(w, 50, axes)
            x = w
            if library == "torch":
                x = pytest.importorskip("torch").from_numpy(w)
            assert np.ascontiguousarray(Sparse(50, axis=axis)(x)).tobytes() == (
                np.ascontiguousarray(expected).tobytes()
            )
        other = w.copy()
        Sparse(50)(other, copy=False)
        np.testing.assert_array_equal(other, by_sorting(w, 50, (0,)))

    def test_names_and_configs(self):
        for constraint in (Sparse(3), Sparse(density=0.1, axis=(0, 1))):
            assert deserialize(serialize(constraint)) == constraint
        assert get({"class_name": "l0_ball", "config": {"k": 3}}) == Sparse(3)

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            ({}, TypeError, "give k"),
            ({"k": 1, "density": 0.5}, ValueError, "give k or density, not both"),
            ({"k": -1}, ValueError, "k must be at least 0, got -1"),
            ({"k": 1.5}, TypeError, "k must be an int"),
            ({"density": 1.5}, ValueError, "density must be between 0 and 1"),
            ({"density": "1"}, TypeError, "density"),
        ],
        ids=str,
    )
    def test_errors_at_construction(self, given, error, message):
        with pytest.raises(error, match=message):
            Sparse(**given)

    def test_integers_are_refused(self):
        with pytest.raises(TypeError, match="floating"):
            Sparse(1)(np.asarray([1, 2]))


class TestChunks:
    @pytest.mark.parametrize("dtype", ["float16", "float64"])
    def test_give_what_the_whole_gives(self, dtype):
        dask = pytest.importorskip("dask.array")
        w = weights(dtype)
        for chunks in ((3, 2, 5), (7, 4, 5), (2, 4, 2)):
            lazy = dask.from_array(w, chunks=chunks)
            for axis, axes in ((0, (0,)), (None, (0, 1, 2)), ((0, 2), (0, 2))):
                expected = by_sorting(w, 3, axes)
                for result in (Sparse(3, axis=axis)(lazy), project(Sparse(3, axis=axis), lazy)):
                    assert bits(result.compute(scheduler="synchronous")) == bits(expected)

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("family", ["normal", "ties"])
    def test_are_read_four_times_at_most(self, family, dtype):
        dask, rng, read = pytest.importorskip("dask.array"), np.random.default_rng(0), []
        n, chunk = 2**19, 2**16
        w = rng.standard_normal(n) if family == "normal" else rng.integers(-3, 4, n)
        w = w.astype(dtype)

        def noted(block):
            read.append(block.size)
            return block

        lazy = dask.from_array(w, chunks=chunk).map_blocks(noted, meta=w[:0])
        result = project(Sparse(density=0.1), lazy).compute(scheduler="synchronous")
        assert bits(result) == bits(Sparse(density=0.1)(w))
        assert sum(read) <= (3 if family == "normal" else 4) * n

    def test_of_unknown_size_are_an_error_only_where_places_decide(self):
        dask = pytest.importorskip("dask.array")
        w = np.asarray([3.0, 1.0, -2.0, 2.0, 5.0])
        lazy = dask.from_array(w, chunks=2)
        some = lazy[lazy > -9]
        found = Sparse(2)(some).compute(scheduler="synchronous")
        np.testing.assert_array_equal(found, [3, 0, 0, 0, 5])
        with pytest.raises(RuntimeError, match="compute_chunk_sizes"):
            Sparse(3)(some).compute(scheduler="synchronous")
        known = some.compute_chunk_sizes()
        found = Sparse(3)(known).compute(scheduler="synchronous")
        np.testing.assert_array_equal(found, [3, 0, -2, 0, 5])


class TestDerivatives:
    W = np.asarray([1.0, -3.0, 0.0, 1.0, 2.0])

    @pytest.mark.parametrize("k", [2, 3, 4])
    def test_are_1_where_an_entry_is_kept(self, k):
        expected = np.diag((np.asarray(Sparse(k)(self.W)) != 0).astype(float))
        if k == 4:  # a slice that is allowed stays
            expected = np.eye(5)
        with TORCH.active():
            import torch

            x = TORCH.array(self.W)
            found = torch.autograd.functional.jacobian(Sparse(k), x)
            np.testing.assert_array_equal(found, expected)
            rows = torch.func.vmap(torch.func.grad(lambda w: (Sparse(k)(w) ** 2).sum()))
            np.testing.assert_array_equal(
                rows(torch.stack([x, 2 * x]))[1], 4 * Sparse(k)(self.W)
            )
        with JAX_X64.active():
            import jax

            x = JAX_X64.array(self.W)
            for made in (jax.jacrev(Sparse(k)), jax.jacfwd(jax.jit(Sparse(k)))):
                np.testing.assert_array_equal(np.asarray(made(x)), expected)
            rows = jax.vmap(Sparse(k))(jax.numpy.stack([x, -x]))
            np.testing.assert_array_equal(np.asarray(rows[1]), -Sparse(k)(self.W))

    def test_programs_are_compiled(self):
        torch = pytest.importorskip("torch")
        torch.compiler.reset()  # it compiles a function for eight constraints at most
        compiled = torch.compile(Sparse(2), backend="eager", fullgraph=True)
        found = compiled(torch.from_numpy(self.W))
        np.testing.assert_array_equal(found, Sparse(2)(self.W))
