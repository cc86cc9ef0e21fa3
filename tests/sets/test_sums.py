"""Sums, means and spreads of slices, judged in exact rational arithmetic."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from libraries import (
    ALL,
    DTYPES,
    HALF,
    LIBRARIES_AND_DTYPES,
    NUMPY,
    ROUNDOFF,
    TORCH,
    Library,
    bits,
)

from array_constraints import Mean, Standardized, Sum
from array_constraints.executors.dask import project
from array_constraints.files import check_file, project_file

EVERYWHERE = pytest.mark.parametrize(
    ("library", "dtype"), LIBRARIES_AND_DTYPES, ids=lambda value: str(value)
)
LENGTHS = (1, 2, 3, 7, 64, 1000)


def smallest_normal(dtype: str) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(DTYPES[dtype]).tiny)


def hard_columns(n: int, dtype: str) -> np.ndarray:
    """Slices of n entries, as columns, whose sums are hard to make or to reach."""
    import ml_dtypes

    rng, info = np.random.default_rng(n), ml_dtypes.finfo(DTYPES[dtype])
    normal, largest, eps = rng.standard_normal(n), float(info.max), float(info.eps)
    one_apart = np.ones(n)
    one_apart[-1] += eps
    cancelling = np.resize([1.0, 2.0**-9, -1.0], n) * math.sqrt(largest)
    heavy = normal * 2.0 ** rng.integers(-12, 12, n)
    columns = [
        normal,
        normal + 100,
        3 + eps * rng.integers(-3, 4, n),
        one_apart * 0.7,
        np.full(n, 0.1),
        cancelling,
        heavy,
        rng.uniform(0.2, 0.3, n) * largest,
        normal / 5 * largest / 2,
        normal * float(info.tiny) * 3,
        np.zeros(n),
        np.where(np.arange(n) == 0, 1.0, eps * normal),
    ]
    with np.errstate(over="ignore"):
        return np.stack([np.clip(c, -largest, largest) for c in columns], 1).astype(
            DTYPES[dtype]
        )


def exactly(column: np.ndarray) -> list[Fraction]:
    return [Fraction(float(x)) for x in column]


def allowed_sum(x: list[Fraction], dtype: str, goal: float, flushed: bool = False) -> Fraction:
    """How far the sum of a result may be off: roundoff of its entries; in float64, of sums."""
    u, n = ROUNDOFF[dtype], len(x)
    factor = 3.05 if dtype == "float64" else 1.01
    subnormal = smallest_normal(dtype) * (
        4 if flushed else 2 * u if dtype == "float64" else 1.01 * u
    )
    return Fraction(factor * u) * sum(map(abs, x)) + n * Fraction(subnormal)


def judge_sum(column: np.ndarray, wanted: Fraction, dtype: str, flushed: bool) -> None:
    x = exactly(column)
    assert abs(sum(x) - wanted) <= allowed_sum(x, dtype, 0.0, flushed)


def applied(constraint, w: np.ndarray, library: Library):
    """Return the result, the result of the result, and both violations."""
    given = library.array(w)
    once = constraint(given)
    twice = constraint(once)
    return library.values(once, twice, constraint.violation(given), constraint.violation(once))


GOALS = {
    "mean 0": (Mean(), 0),
    "mean 0.1": (Mean(0.1), 0.1),
    "sum 1": (Sum(), 1),
    "sum -1e-3": (Sum(-1e-3), -1e-3),
}


@EVERYWHERE
@pytest.mark.parametrize("goal", GOALS)
def test_sums_are_right_to_the_roundoff_of_entries_and_stay_so(library, dtype, goal):
    constraint, number = GOALS[goal]
    with library.active():
        for n in LENGTHS:
            w = hard_columns(n, dtype)
            once, twice, before, after = applied(constraint, w, library)
            assert once.dtype == w.dtype
            wanted = Fraction(number) * (n if isinstance(constraint, Mean) else 1)
            for i in range(w.shape[1]):
                if not np.isfinite(once[:, i].astype(float)).all():
                    continue
                judge_sum(once[:, i], wanted, dtype, library.flushes(dtype))
                assert bits(once[:, i]) == bits(twice[:, i])
                assert after[0, i] == 0
                if before[0, i] == 0:
                    assert bits(once[:, i]) == bits(w[:, i])
                else:
                    assert bits(once[:, i]) != bits(w[:, i])


@EVERYWHERE
def test_the_result_is_the_nearest_point_rounded(library, dtype):
    """Each entry is off by its own roundoff, and by that of the mean of them all."""
    with library.active():
        w = hard_columns(64, dtype)
        found = library.numpy(Mean()(library.array(w)))
        u = Fraction(ROUNDOFF[dtype])
        least = Fraction(smallest_normal(dtype)) * (4 if library.flushes(dtype) else 2 * u)
        for i in range(w.shape[1]):
            x, y = exactly(w[:, i]), found[:, i]
            mean = sum(x) / len(x)
            if not np.isfinite(y.astype(float)).all():
                continue
            kept = bits(y) == bits(w[:, i])
            nearest = [entry - mean for entry in x]
            slack = 2 * u * sum(map(abs, nearest)) / len(x) + least
            for a, b in zip(exactly(y), nearest, strict=True):
                assert abs(a - b) <= 2 * u * abs(b) + slack + (slack if kept else 0)


def test_by_hand():
    w = np.asarray([[3.0, 1.0], [5.0, -1.0]])
    assert Mean()(w).tolist() == [[-1.0, 1.0], [1.0, -1.0]]
    assert Mean(2.0, axis=1)(w).tolist() == [[3.0, 1.0], [5.0, -1.0]]
    assert Sum()(w).tolist() == [[-0.5, 1.5], [1.5, -0.5]]
    assert Mean(axis=None)(w).tolist() == [[1.0, -1.0], [3.0, -3.0]]
    assert Mean().violation(w).tolist() == [[4.0, 0.0]]
    assert Sum().violation(w).tolist() == [[7.0, 1.0]]
    assert Standardized()(w).tolist() == [[-1.0, 1.0], [1.0, -1.0]]


def test_one_goal_for_each_slice():
    w = np.asarray([[3.0, 1.0], [5.0, -1.0]])
    assert Mean([4.0, 1.0])(w).tolist() == [[3.0, 2.0], [5.0, 0.0]]
    assert Sum((2.0, 4.0), axis=-1)(w).tolist() == [[2.0, 0.0], [5.0, -1.0]]
    with pytest.raises(ValueError, match=r"3 entries.*2 slices"):
        Mean([1.0, 2.0, 3.0])(w)


@EVERYWHERE
def test_slices_of_nan_and_infinity_stay_and_no_other_is_affected(library, dtype):
    with library.active():
        w = hard_columns(7, dtype)[:, :5]
        w[2, 1], w[0, 2], w[1, 3], w[2, 3] = np.nan, np.inf, np.inf, -np.inf
        clean = hard_columns(7, dtype)[:, :5]
        for constraint in (Mean(), Sum(), Standardized()):
            once, twice, before, _ = applied(constraint, w, library)
            alone = library.numpy(constraint(library.array(clean)))
            for i in (1, 2, 3):
                assert bits(once[:, i]) == bits(w[:, i])
            assert math.isnan(before[0, 1])
            assert before[0, 2] == before[0, 3] == math.inf
            assert bits(once[:, [0, 4]]) == bits(alone[:, [0, 4]])
            assert bits(twice) == bits(once)


@EVERYWHERE
def test_means_are_zero_and_spreads_one(library, dtype):
    u = ROUNDOFF[dtype]
    with library.active():
        for n in LENGTHS:
            w = hard_columns(n, dtype)
            once, twice, before, after = applied(Standardized(), w, library)
            depth = math.ceil(math.log2(n))
            allowed = (2.05 if dtype in HALF else 8 + 1.5 * depth) * u
            for i in range(w.shape[1]):
                x, y = exactly(w[:, i]), exactly(once[:, i])
                flushed = library.flushes(dtype) and max(map(abs, x)) < 4 * smallest_normal(
                    dtype
                )
                if flushed:
                    continue  # numbers that the library counts as zeros
                assert bits(once[:, i]) == bits(twice[:, i])
                if len(set(x)) == 1:
                    assert bits(once[:, i]) == bits(w[:, i])
                    assert before[0, i] >= 1
                    continue
                off = sum(y) / n
                factor = 4.1 if dtype == "float64" else 1.01
                most = Fraction(factor * u) * sum(map(abs, y))
                assert abs(sum(y)) <= most + n * Fraction(
                    4 * u * smallest_normal(dtype)
                    + (4 * smallest_normal(dtype) if library.flushes(dtype) else 0)
                )
                rms = math.sqrt(sum(entry * entry for entry in y) / n)
                assert abs(rms - 1) <= allowed + 1e-15 * (dtype != "float64") + 2 * u * (
                    dtype == "float64"
                )
                assert after[0, i] == 0
                assert abs(off) < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
def test_no_digits_cancel_beside_a_large_mean(library, dtype):
    with library.active():
        w = (hard_columns(1000, "float64")[:, :1] * 30 + 1e8).astype(dtype)
        y = library.numpy(Standardized()(library.array(w)))[:, 0]
        x = exactly(w[:, 0])
        mean = sum(x) / len(x)
        rms = math.sqrt(sum((entry - mean) ** 2 for entry in x) / len(x))
        exact = [float(entry - mean) / rms for entry in x]
        np.testing.assert_allclose(y, exact, rtol=24 * ROUNDOFF[dtype], atol=0)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("axis", [0, None])
def test_long_slices(dtype, axis):
    rng = np.random.default_rng(0)
    long = np.ones((2**20, 2)) * 0.7
    long[:, 1] = rng.standard_normal(2**20) * 0.01 + 5
    w = long.astype(DTYPES[dtype])
    w[12345, 0] = np.nextafter(w[0, 0], w.dtype.type(2)) if dtype not in HALF else 0.75
    for constraint, wanted in (
        (Mean(0.25, axis), 0.25),
        (Sum(3.0, axis), 3),
        (Standardized(axis), 0),
    ):
        y = constraint(w)
        assert bits(constraint(y)) == bits(y)
        assert not constraint.violation(y).any()
        for column in y.T if axis == 0 else [y.ravel()]:
            goal = Fraction(wanted) * (len(column) if isinstance(constraint, Mean) else 1)
            total = Fraction(math.fsum(column.tolist()))
            size = math.fsum(np.abs(column.astype(float)).tolist())
            u = ROUNDOFF[dtype]
            factor = 4.1 if dtype == "float64" else 1.06
            assert abs(total - goal) <= factor * u * size + len(column) * u * smallest_normal(
                dtype
            )
            if isinstance(constraint, Standardized):
                rms = math.sqrt(
                    math.fsum(np.square(column.astype(float)).tolist()) / len(column)
                )
                assert abs(rms - 1) <= (2.05 if dtype in HALF else 38) * u


@EVERYWHERE
def test_in_place_and_other_axes_give_the_same(library, dtype):
    with library.active():
        w = np.stack([hard_columns(7, dtype)] * 2, 1)
        for make in (Mean, Sum, Standardized):
            a = library.numpy(make(axis=(0, 1))(library.array(w)))
            b = library.numpy(make(axis=(1, 2))(library.array(np.moveaxis(w, 2, 0).copy())))
            np.testing.assert_allclose(
                a.astype(float), np.moveaxis(b, 0, 2).astype(float), rtol=8 * ROUNDOFF[dtype]
            )
            if library in (NUMPY, TORCH):
                given = library.array(w.copy())
                assert make(axis=(0, 1))(given, copy=False) is given
                assert bits(library.numpy(given)) == bits(a)


def test_empty_arrays_and_arrays_of_one_entry():
    for make in (Mean, Sum, Standardized):
        assert make()(np.empty((0, 3))).shape == (0, 3)
        assert make(axis=1)(np.empty((0, 3))).shape == (0, 3)
        assert make().violation(np.empty((0, 3))).shape == (1, 3)
        assert make(axis=None)(np.float32(3)).shape == ()
    assert float(Mean(2.5, axis=None)(np.float32(3))) == 2.5
    assert float(Standardized(axis=None)(np.float32(3))) == 3


def test_the_whole_exponent_range():
    top = np.finfo(float).max
    w = np.asarray([[top, top, 1e-320], [top, -top / 2, 3e-320], [top / 2, top / 2, -5e-324]])
    y = Mean()(w)
    for i in range(3):
        judge_sum(y[:, i], Fraction(0), "float64", False)
    z = Standardized()(w)
    np.testing.assert_allclose((z**2).mean(0), 1, rtol=1e-15)
    assert (abs(z.mean(0)) < 1e-16).all()
    assert np.isfinite(z).all()
    assert abs(z[0, 0] - 0.5**0.5) < 1e-15
    assert np.isfinite(Mean().violation(w)).all()


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_files_have_the_same_bytes_whatever_the_chunks_and_workers(tmp_path, axis, dtype):
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((600, 900)) + 3).astype(dtype)
    np.save(tmp_path / "in.npy", w)
    slices = {0: 900, 1: 600, None: 1}[axis]
    for constraint in (
        Mean(0.5, axis),
        Sum([float(i) for i in range(slices)], axis),
        Standardized(axis),
    ):
        found = set()
        for chunk_size, workers in ((2**16, 1), (2**20, 2), (2**26, 2)):
            report = project_file(
                tmp_path / "in.npy",
                tmp_path / "out.npy",
                constraint,
                chunk_size=chunk_size,
                workers=workers,
                overwrite=True,
            )
            assert report.satisfied
            found.add((tmp_path / "out.npy").read_bytes())
        assert len(found) == 1
        y = np.load(tmp_path / "out.npy")
        np.testing.assert_allclose(
            y.astype(float),
            constraint(w).astype(float),
            rtol=4 * ROUNDOFF[dtype],
            atol=8 * ROUNDOFF[dtype],
        )
        assert check_file(tmp_path / "out.npy", constraint).satisfied


@pytest.mark.parametrize("dtype", ALL)
def test_dask_arrays_chunk_by_chunk(dtype):
    da = pytest.importorskip("dask.array")
    w = hard_columns(1000, dtype)[:, [0, 1, 2, 3, 4, 6, 10, 11]]
    for constraint in (Mean(0.1), Sum(), Standardized(), Mean([float(i) for i in range(8)])):
        for chunks in ((100, 3), ((1, 999), 8), (1000, 4)):
            lazy = project(constraint, da.from_array(w, chunks=chunks))
            y = lazy.compute(scheduler="synchronous")
            again = project(constraint, da.from_array(y, chunks=chunks))
            assert bits(again.compute(scheduler="synchronous")) == bits(y)
            whole = constraint(w)
            np.testing.assert_allclose(
                y.astype(float),
                whole.astype(float),
                rtol=60 * ROUNDOFF[dtype],
                atol=4 * ROUNDOFF[dtype],
            )


def test_dask_takes_unknown_lengths():
    da = pytest.importorskip("dask.array")
    x = da.from_array(np.arange(12.0).reshape(6, 2), chunks=(2, 2))
    x = x[x[:, 0] > 2]
    for constraint in (Mean(), Sum(), Standardized()):
        found = constraint(x).compute(scheduler="synchronous")
        np.testing.assert_allclose(found, constraint(np.arange(12.0).reshape(6, 2)[2:]))


def tangents(w: np.ndarray, t: np.ndarray, constraint) -> np.ndarray:
    """The true derivative along ``t``, in float64."""
    centred = t - t.mean(0)
    if not isinstance(constraint, Standardized):
        return centred
    away = w - w.mean(0)
    rms = np.sqrt((away**2).mean(0))
    y = away / rms
    return (centred - y * (y * centred).mean(0)) / rms


@pytest.mark.parametrize("constraint", [Mean(0.5), Sum(2.0), Standardized()], ids=str)
def test_derivatives_on_torch_also_of_what_is_kept(constraint):
    torch = pytest.importorskip("torch")
    w = torch.tensor(hard_columns(7, "float64")[:, :2], requires_grad=True)
    assert torch.autograd.gradcheck(constraint, w)
    kept = constraint(w.detach()).requires_grad_()
    assert not constraint.violation(kept.detach()).any()
    t = torch.tensor(hard_columns(7, "float64")[:, [6, 0]])
    (found,) = torch.autograd.grad(constraint(kept), kept, t)
    expected = tangents(kept.detach().numpy(), t.numpy(), constraint)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)
    constant = torch.ones((7, 2), requires_grad=True)
    (found,) = torch.autograd.grad(constraint(constant).sum(), constant)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("constraint", [Mean(0.5), Sum(2.0), Standardized()], ids=str)
def test_derivatives_on_jax_and_of_a_traced_goal(constraint):
    jax = pytest.importorskip("jax")
    for dtype in ("float32", "bfloat16"):
        w = jax.numpy.asarray(hard_columns(7, "float32")[:, :2], dtype)
        t = jax.numpy.asarray(hard_columns(7, "float32")[:, [6, 0]], dtype)
        _, found = jax.jvp(constraint, (w,), (t,))
        _, pulled = jax.vjp(constraint, w)
        u = ROUNDOFF[dtype]
        w64, t64 = (np.asarray(x).astype(float) for x in (w, t))
        expected = tangents(w64, t64, constraint)
        for x in (
            found,
            pulled(t)[0],
            jax.jit(lambda w, t: jax.jvp(constraint, (w,), (t,))[1])(w, t),
        ):
            scale = np.abs(t64).max() * 8 * u
            np.testing.assert_allclose(np.asarray(x).astype(float), expected, atol=scale * 4)
    if not isinstance(constraint, Standardized):
        w = jax.numpy.asarray(hard_columns(7, "float32")[:, :2])
        slope = jax.grad(lambda goal: type(constraint)(goal)(w).sum())(1.5)
        assert float(slope) == pytest.approx(14 if isinstance(constraint, Mean) else 2)


def test_compiled_by_torch_and_vmapped_by_jax():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    torch.compiler.reset()  # it compiles a function for eight constraints at most
    w = hard_columns(64, "float32")[:, :7]
    for constraint in (Mean(0.5), Sum(2.0), Standardized()):
        expected = constraint(w)
        compiled = torch.compile(constraint, backend="aot_eager", fullgraph=True)
        for found in (
            compiled(torch.asarray(w)).numpy(),
            np.asarray(jax.jit(constraint)(w)),
            np.asarray(jax.vmap(constraint)(np.stack([w, w])))[0],
        ):
            np.testing.assert_allclose(found, expected, rtol=4e-7, atol=1e-7)


def test_parameters_are_judged_and_stored_as_numbers():
    assert Mean(np.float32(2.0)).value == 2.0
    assert Sum(np.asarray([1.0, -2.0])).total == (1.0, -2.0)
    for make in (Mean, Sum):
        for wrong in (math.inf, -math.inf, math.nan):
            with pytest.raises(ValueError, match="must be finite"):
                make(wrong)
        with pytest.raises(TypeError, match="real number"):
            make("1")
        with pytest.raises(TypeError, match="axis"):
            make(axis=1.5)
        with pytest.raises(TypeError, match="real floating"):
            make()(np.arange(3))
    assert pickle.loads(pickle.dumps(Mean(2.0, (0, 1)))) == Mean(2.0, (0, 1))
