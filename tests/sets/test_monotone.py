"""Monotone: by hand, against SciPy, over the range of each format, and where it cannot be."""

from __future__ import annotations

from fractions import Fraction

import dask.array as da
import numpy as np
import pytest
from array_constraints_conformance.catalogue.monotone import pools
from libraries import LIBRARIES, bits
from scipy.optimize import isotonic_regression

from array_constraints import Monotone, get
from array_constraints.cli.arguments import value_of
from array_constraints.executors.dask import project
from array_constraints.files import check_file, project_file
from array_constraints.libraries import of_namespace
from array_constraints.numerics import isotonic, isotonic_at_hand

EXAMPLES = [
    ([1.0, 4.0, 2.0, 3.0, 5.0], [1.0, 3.0, 3.0, 3.0, 5.0]),
    ([3.0, 2.0, 2.0, 1.0], [2.0, 2.0, 2.0, 2.0]),
    ([8.0, 0.0, 1.0, 3.0, 7.0], [3.0, 3.0, 3.0, 3.0, 7.0]),
    ([0.0, 1.0, 2.0, 3.0, -6.0], [0.0, 0.0, 0.0, 0.0, 0.0]),
    ([1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]),
    ([2.0], [2.0]),
]


def drawn(rng: np.random.Generator, i: int) -> np.ndarray:
    """Return a slice of one of the kinds that are hard: ties, ramps, spikes, long pools."""
    n = int(rng.integers(1, 201))
    w = rng.standard_normal(n)
    kinds = (
        lambda: w,
        lambda: np.round(2 * w) / 2,
        lambda: np.sort(w)[::-1],
        lambda: np.where(np.arange(n) == 0, 10.0, np.sort(w)),
        lambda: np.cumsum(w),
        lambda: w * 10.0 ** rng.integers(-9, 9, n),
        lambda: np.resize([1.0, -1.0], n),
        lambda: np.where(np.arange(n) < n // 2, 1.0, np.linspace(-1, 2, n)),
    )
    return np.ascontiguousarray(kinds[i % len(kinds)]())


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
class TestOnEveryLibrary:
    @pytest.mark.parametrize(("w", "expected"), EXAMPLES, ids=str)
    def test_slices_by_hand(self, library, w, expected):
        with library.active():
            x = np.asarray(w, dtype=np.float32)
            found = library.numpy(Monotone()(library.array(x)))
            np.testing.assert_array_equal(found, np.asarray(expected, np.float32), strict=True)
            found = library.numpy(Monotone(increasing=False)(library.array(-x)))
            np.testing.assert_array_equal(found, -np.asarray(expected, np.float32))

    def test_the_violation_is_the_largest_fall(self, library):
        w = np.asarray([[1.0, 3.0, 2.5, 0.5, 4.0], [1.0, 2.0, 2.0, 3.0, 9.0]], np.float32)
        with library.active():
            found = library.numpy(Monotone(axis=1).violation(library.array(w)))
            np.testing.assert_array_equal(found, [[2.5], [0.0]])
            found = library.numpy(Monotone(False, axis=1).violation(library.array(w)))
            np.testing.assert_array_equal(found, [[3.5], [8.0]])

    def test_infinities_in_order_are_allowed_and_others_stay(self, library):
        inf, nan = np.inf, np.nan
        w = np.asarray(
            [[-inf, 1.0, inf], [-inf, 2.0, 1.0], [inf, 1.0, 2.0], [2.0, nan, 1.0], [2, 1, 3]]
        ).astype(np.float32)
        with library.active():
            x, constraint = library.array(w), Monotone(axis=-1)
            found = library.numpy(constraint(x))
            assert bits(found[:4]) == bits(w[:4])
            np.testing.assert_array_equal(found[4], [1.5, 1.5, 3.0])
            expected = [[0.0], [inf], [inf], [nan], [1.0]]
            np.testing.assert_array_equal(library.numpy(constraint.violation(x)), expected)

    def test_it_is_exact_at_both_ends_of_the_range(self, library):
        large = np.finfo(np.float32).max
        w = np.asarray([[large, large, 0.0], [large, -large, 1.0]], np.float32)
        with library.active():
            found = library.numpy(Monotone(axis=1)(library.array(w)))
        expected = np.asarray([[large / 1.5] * 3, [0.0, 0.0, 1.0]], np.float32)
        np.testing.assert_allclose(found, expected, rtol=1e-7)
        assert (np.diff(found) >= 0).all()


class TestAgainstSciPy:
    def test_a_thousand_slices(self):
        rng = np.random.default_rng(0)
        for i in range(1000):
            w, rising = drawn(rng, i), i % 3 > 0
            found = Monotone(rising)(w)
            expected = isotonic_regression(w, increasing=rising).x
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-14 * np.max(abs(w)))
            falls = np.diff(found) if rising else -np.diff(found)
            assert (falls >= 0).all()
            assert bits(Monotone(rising)(found)) == bits(found)
            assert Monotone(rising).violation(found)[0] == 0

    @pytest.mark.parametrize("way", ["by halves", "at hand"])
    @pytest.mark.parametrize("n", [1, 2, 3, 5, 64, 100, 700])
    def test_both_ways_on_many_rows_at_once(self, n, way):
        library, rng = of_namespace(np), np.random.default_rng(n)
        x = np.stack([np.resize(drawn(rng, i), n) for i in range(24)])
        solve = {"by halves": isotonic.regression, "at hand": isotonic_at_hand.regression}[way]
        found = solve(x, library)
        for row, image in zip(x, found, strict=True):
            expected = isotonic_regression(row).x
            np.testing.assert_allclose(
                image, expected, rtol=1e-6, atol=1e-13 * np.max(abs(row))
            )
            assert (np.diff(image) >= 0).all()

    def test_huge_float64_beside_tiny_ones(self):
        large = np.finfo(np.float64).max
        w = np.asarray([3e-300, 1e-300, 1.0, large, large / 2, large])
        found = Monotone()(w)
        np.testing.assert_allclose(found, [2e-300, 2e-300, 1.0, *[large * 0.75] * 2, large])
        assert found[2] == 1.0


class TestAloneAndBesideOthers:
    """Rows of which roundoffs decide what falls: nearest points, and a few roundoffs more."""

    @staticmethod
    def beside_nearest_points(count: int, n: int) -> np.ndarray:
        rng, constraint = np.random.default_rng(0), Monotone(axis=1)
        w = rng.normal(0, 2, (count, n))
        point = constraint(w)
        sizes = [np.linalg.norm(x, axis=1, keepdims=True) for x in (point, w - point)]
        off = rng.integers(-6, 7, (count, 1)) * 2.0**-53 * sizes[0] / (sizes[1] + 1e-9)
        return point + off * (w - point)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("name", ["numpy", "torch"])
    def test_a_row_has_the_same_bits_in_any_company(self, name, dtype):
        xp, constraint = pytest.importorskip(name), Monotone(axis=1)
        w = self.beside_nearest_points(96, 2731).astype(dtype)
        found = np.asarray(constraint(xp.asarray(w)))
        for row, image in zip(w[::4], found[::4], strict=True):
            assert bits(np.asarray(constraint(xp.asarray(row[None])))[0]) == bits(image)
        falling = np.sort(w[::2], axis=1)[:, ::-1]  # in the same shape, where most entries fall
        w[::2] = falling
        assert bits(np.asarray(constraint(xp.asarray(w)))[1::2]) == bits(found[1::2])
        assert bits(np.asarray(constraint(xp.asarray(found)))) == bits(found)

    @pytest.mark.parametrize("n", [3, 10, 100])
    def test_what_is_averaged_is_that_of_exact_numbers(self, n):
        rng, constraint = np.random.default_rng(n), Monotone(axis=1)
        near = self.beside_nearest_points(30, n)
        w = np.concatenate([near, 1 + 2.0**-52 * rng.integers(0, 4, (30, n)), 0.1 * near])
        for row, image in zip(w, constraint(w), strict=True):
            averaged = pools([Fraction(x) for x in row.tolist()])
            lengths = [count for _, count in averaged]
            exact = np.repeat([float(total / count) for total, count in averaged], lengths)
            np.testing.assert_array_max_ulp(image, exact, 1)
            alone = np.repeat(lengths, lengths) == 1
            assert bits(image[alone]) == bits(row[alone])


class TestWhatItIsGiven:
    def test_names(self):
        assert get("monotone") == get("isotonic") == get("Monotone") == Monotone(True, 0)
        assert Monotone(np.False_).get_config() == {"increasing": False, "axis": 0}

    @pytest.mark.parametrize("value", [1, 0.0, "yes", None])
    def test_what_is_no_truth_value_is_refused(self, value):
        with pytest.raises(TypeError, match=f"increasing must be True or False, got {value!r}"):
            Monotone(value)

    @pytest.mark.parametrize("axis", [(0, 1), None])
    def test_several_dimensions_have_no_order(self, axis):
        for call in (Monotone(axis=axis), Monotone(axis=axis).violation):
            with pytest.raises(ValueError, match="names 2 dimensions of shape \\(2, 3\\)"):
                call(np.ones((2, 3)))

    def test_one_dimension_however_it_is_named(self):
        w = np.asarray([2.0, 1.0])
        for axis in (0, -1, (0,), None):
            np.testing.assert_array_equal(Monotone(axis=axis)(w), [1.5, 1.5])
        scalar = np.asarray(3.0)
        assert Monotone(axis=None)(scalar) == 3.0
        assert Monotone(axis=None).violation(scalar) == 0.0

    def test_the_command_line_takes_words_for_truth_values(self):
        assert value_of("increasing", "false") is False
        assert value_of("increasing", "True") is True
        with pytest.raises(ValueError, match="'down' is not a number"):
            value_of("increasing", "down")

    def test_empty_arrays(self):
        for shape in ((0, 3), (3, 0)):
            w = np.empty(shape)
            assert Monotone()(w).shape == shape


class TestInPieces:
    w = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)

    def test_lazy_arrays_of_any_chunks(self):
        for chunks in ((40, 2), (7, 6), (7, 4)):
            lazy = da.from_array(self.w, chunks=chunks)
            result, violation = Monotone()(lazy), Monotone().violation(lazy)
            assert (result.chunks, violation.shape) == (lazy.chunks, (1, 6))
            found = result.compute(scheduler="synchronous")
            assert bits(found) == bits(Monotone()(self.w))
            found = violation.compute(scheduler="synchronous")
            np.testing.assert_array_equal(found, Monotone().violation(self.w))

    def test_within_the_memory_of_chunks_slices_have_to_be_whole(self):
        with pytest.raises(ValueError, match=r"whole slices.*rechunk\(\{0: -1\}\)"):
            project(Monotone(), da.from_array(self.w, chunks=(7, 6)))
        found = project(Monotone(), da.from_array(self.w, chunks=(40, 2)))
        assert bits(found.compute(scheduler="synchronous")) == bits(Monotone()(self.w))

    def test_files(self, tmp_path):
        source, target = tmp_path / "w.npy", tmp_path / "done.npy"
        w = np.random.default_rng(0).standard_normal((20_000, 4)).astype(np.float32)
        np.save(source, w)
        said = "needs whole slices of .*320000 bytes, more than a chunk of 65536 bytes: raise"
        with pytest.raises(ValueError, match=said):
            project_file(source, target, Monotone(), chunk_size=65536)
        report = project_file(source, target, Monotone(), chunk_size=320_000)
        assert bits(np.load(target)) == bits(Monotone()(w))
        assert report.satisfied
        assert check_file(target, Monotone()).satisfied
        assert not check_file(source, Monotone()).satisfied


class TestDerivatives:
    w = np.asarray([3.0, 1.0, 2.5, 2.5, 4.0, 3.0])

    def expected_jacobian(self) -> np.ndarray:
        found = np.eye(6)
        found[:2, :2] = found[4:, 4:] = 0.5
        return found

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # its own
    def test_on_pytorch(self):
        torch = pytest.importorskip("torch")
        w, expected = torch.tensor(self.w), torch.tensor(self.expected_jacobian())
        constraint = Monotone()
        assert torch.equal(torch.func.jacrev(constraint)(w), expected)
        assert torch.equal(torch.func.jacfwd(constraint)(w), expected)
        both = torch.func.vmap(torch.func.grad(lambda w: (constraint(w) ** 2).sum()))
        np.testing.assert_array_equal(both(torch.stack([w, -w]))[0], 2 * constraint(w))
        kept = torch.tensor(np.sort(self.w))
        assert torch.equal(torch.func.jacrev(constraint)(kept), torch.eye(6).double())
        holes = torch.tensor([2.0, torch.nan, 1.0])
        assert torch.equal(torch.func.jacrev(constraint)(holes), torch.eye(3))

    def test_on_jax(self):
        jax = pytest.importorskip("jax")
        w, constraint = jax.numpy.asarray(self.w, dtype="float32"), Monotone(increasing=False)
        expected = self.expected_jacobian()
        np.testing.assert_array_equal(jax.jacrev(constraint)(-w), expected)
        np.testing.assert_array_equal(jax.jit(jax.jacfwd(constraint))(-w), expected)
        both = jax.jit(jax.vmap(jax.grad(lambda w: (constraint(w) ** 2).sum())))
        stack = jax.numpy.stack([-w, w])
        np.testing.assert_array_equal(both(stack)[0], 2 * constraint(-w))
