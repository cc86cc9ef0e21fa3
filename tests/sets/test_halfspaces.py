"""Half-spaces and hyperplanes, judged in exact rational arithmetic."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from libraries import ALL, DTYPES, LIBRARIES_AND_DTYPES, NUMPY, ROUNDOFF, TORCH, bits

from array_constraints.executors.dask import project
from array_constraints.files import check_file, project_file
from array_constraints.sets.halfspaces import Halfspace, Hyperplane

EVERYWHERE = pytest.mark.parametrize(
    ("library", "dtype"), LIBRARIES_AND_DTYPES, ids=lambda value: str(value)
)
LENGTHS = (1, 2, 3, 7, 64)


def smallest_normal(dtype: str) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(DTYPES[dtype]).tiny)


def normals(n: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(n)
    return {
        "random": rng.standard_normal(n).tolist(),
        "integers": [float(i % 5 + 1) for i in range(n)],
        "sparse": [0.0] * (n - 1) + [-0.1],
        "uneven": (rng.standard_normal(n) * 2.0 ** rng.integers(-20, 20, n)).tolist(),
    }


def hard_columns(normal: list[float], dtype: str) -> np.ndarray:
    """Slices as columns: some nearly, or just, multiples of the normal, where all cancels."""
    import ml_dtypes

    a, info = np.asarray(normal), ml_dtypes.finfo(DTYPES[dtype])
    n, rng, eps = len(a), np.random.default_rng(len(a)), float(info.eps)
    largest = float(info.max)
    unit = a / np.abs(a).max()
    columns = [
        rng.standard_normal(n),
        rng.standard_normal(n) + 100,
        3 * unit,
        3 * unit * (1 + eps * rng.integers(-3, 4, n)),
        -unit,
        rng.standard_normal(n) * (largest / 2**30)
        if dtype != "float16"
        else rng.uniform(1, 9, n),
        np.zeros(n),
        rng.standard_normal(n) * eps,
    ]
    return np.stack(columns, 1).astype(DTYPES[dtype])


def exactly(numbers) -> list[Fraction]:
    return [Fraction(float(x)) for x in numbers]


def judge(x: np.ndarray, normal: list[float], wanted: float, dtype: str, flushed: bool) -> None:
    """The inner product is right to the roundoff of the entries."""
    a, x = exactly(normal), exactly(x)
    u = ROUNDOFF[dtype]
    factor = Fraction((5.05 if dtype == "float64" else 1.01) * u)
    least = Fraction(
        4 * smallest_normal(dtype) if flushed else 2.02 * u * smallest_normal(dtype)
    )
    product = sum(p * q for p, q in zip(a, x, strict=True))
    allowed = sum(abs(p) * (factor * abs(q) + least) for p, q in zip(a, x, strict=True))
    if flushed:  # the band that is kept takes a norm for the sum of magnitudes
        allowed *= math.isqrt(len(a)) + 1
    assert abs(product - Fraction(wanted)) <= allowed


@EVERYWHERE
@pytest.mark.parametrize("kind", ["random", "integers", "sparse", "uneven"])
def test_inner_products_are_right_and_stay_so(library, dtype, kind):
    with library.active():
        for n in LENGTHS:
            normal = normals(n)[kind]
            w = hard_columns(normal, dtype)
            for make, goal in ((Hyperplane, 0.0), (Hyperplane, 0.75), (Halfspace, -0.3)):
                constraint, given = make(normal, goal), library.array(w)
                once = constraint(given)
                twice = constraint(once)
                once, twice, before, after = library.values(
                    once, twice, constraint.violation(given), constraint.violation(once)
                )
                assert once.dtype == w.dtype
                for i in range(w.shape[1]):
                    column = once[:, i].astype(float)
                    if not np.isfinite(column).all():
                        continue
                    assert bits(once[:, i]) == bits(twice[:, i])
                    assert after[0, i] == 0
                    if before[0, i] == 0:
                        assert bits(once[:, i]) == bits(w[:, i])
                    if before[0, i] > 0 or make is Hyperplane:
                        judge(once[:, i], normal, goal, dtype, library.flushes(dtype))
                    else:
                        product = sum(
                            p * q
                            for p, q in zip(exactly(normal), exactly(w[:, i]), strict=True)
                        )
                        assert (
                            product
                            <= Fraction(goal)
                            + Fraction(6 * ROUNDOFF[dtype])
                            * sum(
                                abs(p * q)
                                for p, q in zip(exactly(normal), exactly(w[:, i]), strict=True)
                            )
                            + Fraction(smallest_normal(dtype))
                            * sum(map(abs, exactly(normal)))
                            * 4
                        )


@EVERYWHERE
def test_the_result_is_the_nearest_point_rounded(library, dtype):
    with library.active():
        normal = normals(7)["random"]
        w, a = hard_columns(normal, dtype), exactly(normal)
        found = library.numpy(Hyperplane(normal, 0.5)(library.array(w)))
        for i in (0, 1, 5):
            x = exactly(w[:, i])
            step = (sum(p * q for p, q in zip(a, x, strict=True)) - Fraction(0.5)) / sum(
                p * p for p in a
            )
            u = Fraction(ROUNDOFF[dtype])
            for y, p, q in zip(exactly(found[:, i]), a, x, strict=True):
                nearest = q - step * p
                slack = 4 * u * abs(nearest) + u * u * abs(q) + 2 * u * abs(Fraction(0.5) * p)
                assert abs(y - nearest) <= slack + u * Fraction(smallest_normal(dtype))


@EVERYWHERE
def test_one_number_for_all_entries_is_a_bound_on_the_sum(library, dtype):
    with library.active():
        for n in LENGTHS:
            w = hard_columns([1.0] * n, dtype)
            for normal, goal in ((1.0, 0.5), (-2.0, 0.25), (0.125, -1.0)):
                for make in (Halfspace, Hyperplane):
                    constraint, given = make(normal, goal), library.array(w)
                    once, before = constraint(given), constraint.violation(given)
                    once, twice, before = library.values(once, constraint(once), before)
                    assert bits(once) == bits(twice)
                    for i in range(w.shape[1]):
                        if not np.isfinite(once[:, i].astype(float)).all():
                            continue
                        if before[0, i] == 0:
                            assert bits(once[:, i]) == bits(w[:, i])
                        if before[0, i] > 0 or make is Hyperplane:
                            judge(once[:, i], [normal] * n, goal, dtype, library.flushes(dtype))
                        else:
                            exact = sum(exactly(w[:, i])) * Fraction(normal)
                            assert exact <= Fraction(goal) + 6 * Fraction(
                                ROUNDOFF[dtype]
                            ) * sum(map(abs, exactly(w[:, i]))) * abs(
                                Fraction(normal)
                            ) + n * 9 * Fraction(smallest_normal(dtype))


def test_by_hand():
    w = np.asarray([[3.0, 1.0], [6.0, 2.0]])
    assert Halfspace([1.0, 2.0], 5.0)(w).tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert Halfspace([1.0, 2.0], 5.0).violation(w).tolist() == [[10.0, 0.0]]
    assert Halfspace([1.0, 2.0], [15.0, 0.0])(w).tolist() == [[3.0, 0.0], [6.0, 0.0]]
    assert Hyperplane([3.0, 6.0, 1.0, 2.0], axis=None)(w).tolist() != w.tolist()
    assert Hyperplane([0.0, 1.0], 4.0, axis=1)(w).tolist() == [[3.0, 4.0], [6.0, 4.0]]
    assert Halfspace(2.0, 4.0)(w).tolist() == [[-0.5, 0.5], [2.5, 1.5]]
    assert Halfspace(2.0, 4.0).violation(w).tolist() == [[14.0, 2.0]]
    assert Halfspace(-2.0, -18.0)(w).tolist() == [[3.0, 4.0], [6.0, 5.0]]


@EVERYWHERE
def test_slices_of_nan_and_infinity_stay_and_no_other_is_affected(library, dtype):
    normal = normals(7)["random"]
    with library.active():
        clean = hard_columns(normal, dtype)[:, [0, 0, 0, 0, 1]]
        w = clean.copy()
        w[2, 1], w[0, 2], w[1, 3], w[2, 3] = np.nan, np.inf, np.inf, -np.inf
        for constraint in (
            Halfspace(normal, -50.0),
            Hyperplane(normal, 1.0),
            Halfspace(1.0, -50.0),
        ):
            once = library.numpy(constraint(library.array(w)))
            before = library.numpy(constraint.violation(library.array(w)))
            alone = library.numpy(constraint(library.array(clean)))
            for i in (1, 2, 3):
                assert bits(once[:, i]) == bits(w[:, i])
            assert math.isnan(before[0, 1])
            assert before[0, 2] == before[0, 3] == math.inf
            assert bits(once[:, [0, 4]]) == bits(alone[:, [0, 4]])


@pytest.mark.parametrize("dtype", ALL)
def test_several_axes_and_in_place(dtype):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 5, 4)).astype(DTYPES[dtype])
    normal = rng.standard_normal(15).tolist()
    flat = Hyperplane(normal, 0.5)(w.reshape(15, 4))
    for library in (NUMPY, TORCH):
        with library.active():
            given = library.array(w.copy())
            constraint = Hyperplane(normal, 0.5, axis=(0, 1))
            found = library.numpy(constraint(given)).reshape(15, 4).astype(float)
            np.testing.assert_allclose(found, flat.astype(float), rtol=4 * ROUNDOFF[dtype])
            assert constraint(given, copy=False) is given
            assert library.numpy(given).astype(float).ravel().tolist() == found.ravel().tolist()


def test_parts_of_a_slice_have_their_part_of_the_normal():
    rng = np.random.default_rng(0)
    w, normal = rng.standard_normal((6, 4, 3)), rng.standard_normal(24).tolist()
    whole = Hyperplane(normal, [1.0, 2.0, 3.0], axis=(0, 1))
    tiles = [(slice(i, i + 3), slice(j, j + 2), slice(0, 3)) for i in (0, 3) for j in (0, 2)]
    measure = None
    for tile in tiles:
        part = whole.for_part(w.shape, (0, 1), tile)
        found = part.measure(w[tile], (0, 1), np)
        measure = found if measure is None else part.merge(measure, found, np)
    expected = whole(w)
    for tile in tiles:
        part = whole.for_part(w.shape, (0, 1), tile)
        piece = (slice(1, 3), slice(0, 2), slice(1, 2))
        np.testing.assert_allclose(part.apply(w[tile], measure, np), expected[tile], rtol=1e-14)
        inner = part.for_part((3, 2, 3), (0, 1), piece)
        assert len(inner.normal) == 4
        assert inner.value == (2.0,)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_files_have_the_same_bytes_whatever_the_chunks_and_workers(tmp_path, dtype):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((400, 300)).astype(dtype)
    np.save(tmp_path / "in.npy", w)
    for constraint in (
        Halfspace(1.0, -2.0),
        Hyperplane(0.5, 3.0, axis=None),
        Halfspace(rng.standard_normal(400).tolist(), 0.1),
        Hyperplane(rng.standard_normal(300).tolist(), 0.1, axis=1),
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
        y = np.load(tmp_path / "out.npy").astype(float)
        u = ROUNDOFF[dtype]
        np.testing.assert_allclose(y, constraint(w).astype(float), rtol=4 * u, atol=8 * u)
        assert check_file(tmp_path / "out.npy", constraint).satisfied


@pytest.mark.parametrize("dtype", ALL)
def test_dask_arrays_chunk_by_chunk(dtype):
    da = pytest.importorskip("dask.array")
    normal = normals(64)["random"]
    w = hard_columns(normal, dtype)[:, [0, 1, 3, 4]]
    for constraint in (Halfspace(normal, 0.2), Hyperplane(normal, [1.0, 2.0, 3.0, 4.0])):
        whole = constraint(w).astype(float)
        for chunks in ((64, 3), (64, 4)):
            lazy = project(constraint, da.from_array(w, chunks=chunks))
            y = lazy.compute(scheduler="synchronous")
            np.testing.assert_allclose(
                y.astype(float), whole, rtol=8 * ROUNDOFF[dtype], atol=ROUNDOFF[dtype]
            )
        for chunks in ((10, 3), (64, 1)):
            y = constraint(da.from_array(w, chunks=chunks)).compute(scheduler="synchronous")
            np.testing.assert_allclose(
                y.astype(float), whole, rtol=8 * ROUNDOFF[dtype], atol=ROUNDOFF[dtype]
            )


def across(w: np.ndarray, t: np.ndarray, a: np.ndarray, bound: float | None) -> np.ndarray:
    """The true derivative along ``t``."""
    moved = np.ones(w.shape[1], bool) if bound is None else a @ w > bound
    return np.where(moved, t - np.outer(a, a @ t) / (a @ a), t)


@pytest.mark.parametrize("one", [True, False], ids=["one number", "a vector"])
def test_derivatives(one):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    normal = 1.0 if one else normals(7)["random"]
    a = np.full(7, 1.0) if one else np.asarray(normal)
    rng = np.random.default_rng(1)
    w, t = rng.standard_normal((7, 6)), rng.standard_normal((7, 6))
    for constraint, bound in ((Halfspace(normal, 0.25), 0.25), (Hyperplane(normal, 2.0), None)):
        leaf = torch.tensor(w, requires_grad=True)
        assert torch.autograd.gradcheck(constraint, leaf)
        (found,) = torch.autograd.grad(constraint(leaf), leaf, torch.tensor(t))
        np.testing.assert_allclose(
            found.numpy(), across(w, t, a, bound), rtol=1e-12, atol=1e-12
        )
        _, moved = jax.jvp(
            jax.jit(constraint),
            (jax.numpy.asarray(w, "float32"),),
            (jax.numpy.asarray(t, "float32"),),
        )
        np.testing.assert_allclose(moved, across(w, t, a, bound), atol=3e-6)
    kept = Hyperplane(normal, 2.0)(torch.tensor(w)).requires_grad_()
    (found,) = torch.autograd.grad(Hyperplane(normal, 2.0)(kept), kept, torch.tensor(t))
    np.testing.assert_allclose(found.numpy(), across(w, t, a, None), rtol=1e-12, atol=1e-12)
    slope = jax.grad(lambda b: Hyperplane(normal, b)(jax.numpy.asarray(w, "float32")).sum())(
        2.0
    )
    assert float(slope) == pytest.approx(6 * a.sum() / (a @ a), rel=1e-5)


def test_compiled_by_torch_and_vmapped_by_jax():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    normal = normals(7)["random"]
    w = np.random.default_rng(0).standard_normal((7, 5)).astype("float32")
    for constraint in (Halfspace(normal, 0.5), Hyperplane(normal, 2.0), Halfspace(-1.0, -3.0)):
        expected = constraint(w)
        torch.compiler.reset()  # it compiles a function for eight constraints at most
        compiled = torch.compile(constraint, backend="aot_eager", fullgraph=True)
        for found in (
            compiled(torch.asarray(w)).numpy(),
            np.asarray(jax.jit(constraint)(w)),
            np.asarray(jax.vmap(constraint)(np.stack([w, w])))[0],
        ):
            np.testing.assert_allclose(found, expected, rtol=4e-7, atol=1e-7)


def test_parameters_are_judged():
    w = np.ones((3, 2))
    for make, name in ((Halfspace, "bound"), (Hyperplane, "value")):
        assert make(np.asarray([1.0, 2.0])).normal == (1.0, 2.0)
        assert make(np.float32(2.0)).normal == 2.0
        for wrong in (0.0, [0.0, 0.0], [1e91], [1e-91, 0.0]):
            with pytest.raises(ValueError, match="normal must not be zero"):
                make(wrong)
        for wrong in (math.inf, math.nan, [1.0, math.nan]):
            with pytest.raises(ValueError, match="must be finite"):
                make(wrong)
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            make(1.0, math.inf)
        with pytest.raises(ValueError, match=r"normal has 2 entries.* has 3"):
            make([1.0, 2.0])(w)
        with pytest.raises(ValueError, match=rf"{name} has 3 entries.*2 slices"):
            make(1.0, [1.0, 2.0, 3.0])(w)
        with pytest.raises(TypeError, match="real floating"):
            make(1.0)(np.arange(3))
        constraint = make([1.0, 2.0, 3.0], 0.5)
        assert pickle.loads(pickle.dumps(constraint)) == constraint
        assert type(constraint)(**constraint.get_config()) == constraint
        assert constraint(np.empty((3, 0))).shape == (3, 0)


def test_empty_slices_have_a_violation_of_their_own(library):
    for constraint in (Halfspace([1.0, 2.0]), Hyperplane([1.0, 2.0])):
        w = library.array(np.ones((0, 2), "f4"))
        assert library.numpy(constraint(w)).shape == (0, 2)
        assert library.numpy(constraint.violation(w)).shape == (1, 2)
