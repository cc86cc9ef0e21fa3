"""The numeric contract of MaxNorm, MinMaxNorm and UnitNorm, on every library and dtype."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact import relative_excess, slices, square_norm
from hypothesis import given
from hypothesis import strategies as st
from libraries import DTYPES, LIBRARIES_AND_DTYPES, ROUNDOFF, bits, counts_as_zero
from strategies import weights

from array_constraints import MaxNorm, MinMaxNorm, UnitNorm

every_library_and_dtype = pytest.mark.parametrize(
    ("library", "dtype"), LIBRARIES_AND_DTYPES, ids=lambda value: str(value)
)


def tolerances(n: int, dtype: str) -> tuple[float, float, float]:
    """The band of "either outcome", what MaxNorm keeps, and what the others hold, times u."""
    u, log = ROUNDOFF[dtype], math.ceil(math.log2(n))
    if dtype in ("float16", "bfloat16"):
        return (log / 2 + 1.5) * u, 2.05 * u, 2.05 * u
    return (log / 2 + 1.5) * u, (12 + 1.5 * log) * u, (8 + 1.5 * log) * u


def normalized(axis, ndim):
    axes = range(ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    return tuple(sorted(i % ndim for i in axes))


def check_slice(library, constraint, lower, upper, row, result, violation, dtype):
    violation_dtype, violation = violation.dtype, float(violation)
    band, kept_by_max_norm, tolerance = tolerances(len(row), dtype)
    same = bits(row) == bits(result)
    if not np.isfinite(row.astype(np.float64)).all():
        assert same
        assert violation != 0
        assert math.isnan(violation) == bool(np.isnan(row.astype(np.float64)).any())
        return
    if counts_as_zero(library, row):
        assert same
        assert violation == pytest.approx(lower, rel=1e-6)
        return
    if lower > 0:
        below = relative_excess(row, lower)
        inside = below >= band
    else:
        below, inside = math.inf, True
    above = relative_excess(row, upper)
    if inside and above <= -band:
        assert same, "a satisfied slice changed"
        assert violation == 0
        return
    if isinstance(constraint, MaxNorm) and not same:
        assert relative_excess(result, upper) <= 0, "over the bound in exact arithmetic"
        assert relative_excess(result, upper) >= -kept_by_max_norm
    elif isinstance(constraint, MaxNorm):
        assert above <= band
    else:
        assert relative_excess(result, upper) <= tolerance
        if lower > 0:
            assert relative_excess(result, lower) >= -tolerance
    assert (np.signbit(row) == np.signbit(result)).all()
    distance = max(0.0, above * upper, -below * lower if lower else 0.0)
    if max(distance, violation) > 0.99 * float(np.finfo(violation_dtype).max):
        assert min(distance, violation) > 0.99 * float(np.finfo(violation_dtype).max)
    else:
        assert violation == pytest.approx(distance, rel=1e-3, abs=4 * tolerance * upper)


def check(library, constraint, lower, upper, w, dtype):
    x = library.array(w)
    before = bits(library.numpy(x))
    result, violation = library.values(constraint(x), constraint.violation(x))
    assert bits(library.numpy(x)) == before, "the input changed"
    assert result.dtype == w.dtype
    assert result.shape == w.shape
    axes = normalized(constraint.axis, w.ndim)
    assert violation.shape == tuple(1 if i in axes else n for i, n in enumerate(w.shape))
    rows = zip(slices(w, axes), slices(result, axes), violation.ravel(), strict=True)
    for row, projected, distance in rows:
        check_slice(library, constraint, lower, upper, row, projected, distance, dtype)
    image = library.array(result)
    twice, again = library.values(constraint(image), constraint.violation(image))
    assert bits(twice) == bits(result), "not idempotent"
    for projected, distance in zip(slices(result, axes), again.ravel(), strict=True):
        finite = np.isfinite(projected.astype(np.float64)).all()
        if finite and not counts_as_zero(library, projected):
            assert distance == 0


@every_library_and_dtype
class TestContract:
    @given(data=st.data())
    def test_max_norm_keeps_the_contract(self, library, dtype, data):
        w, axis = data.draw(weights(dtype, 2.0))
        with library.active():
            check(library, MaxNorm(2, axis), 0.0, 2.0, w, dtype)

    @given(data=st.data(), bound=st.sampled_from([1e-3, 0.1, 0.7, 3.0, 1e3]))
    def test_max_norm_keeps_the_contract_at_other_bounds(self, library, dtype, data, bound):
        w, axis = data.draw(weights(dtype, bound))
        with library.active():
            check(library, MaxNorm(bound, axis), 0.0, bound, w, dtype)

    @given(data=st.data())
    def test_unit_norm_keeps_the_contract(self, library, dtype, data):
        w, axis = data.draw(weights(dtype, 1.0))
        with library.active():
            check(library, UnitNorm(axis), 1.0, 1.0, w, dtype)

    @given(
        data=st.data(), bounds=st.sampled_from([(0.5, 1.5), (0.7, 0.7), (1.0, 1.0 + 2**-40)])
    )
    def test_min_max_norm_keeps_the_contract(self, library, dtype, data, bounds):
        w, axis = data.draw(weights(dtype, data.draw(st.sampled_from(bounds))))
        with library.active():
            check(library, MinMaxNorm(*bounds, axis=axis), *bounds, w, dtype)

    @pytest.mark.parametrize("length", [4096, 65536])
    def test_accuracy_does_not_degrade_with_length(self, library, dtype, length):
        w = np.full((length, 3), 1.3).astype(DTYPES[dtype])
        w[:, 1] = np.random.default_rng(0).standard_normal(length).astype(DTYPES[dtype])
        with library.active():
            check(library, MaxNorm(2), 0.0, 2.0, w, dtype)
            check(library, UnitNorm(), 1.0, 1.0, w, dtype)

    def test_a_thousand_applications_change_no_bit(self, library, dtype):
        start = np.random.default_rng(1).standard_normal((7, 5)).astype(DTYPES[dtype])
        with library.active():
            once = MaxNorm(1.5)(library.array(start))
            w = once
            for _ in range(20 if library.name == "dask" else 1000):
                w = MaxNorm(1.5)(w)
            assert bits(library.numpy(w)) == bits(library.numpy(once))

    def test_rate_moves_that_share_of_the_way(self, library, dtype):
        w = np.asarray([[3.0, 0.3], [4.0, 0.4]]).astype(DTYPES[dtype])
        with library.active():
            result = library.numpy(MinMaxNorm(1, 2, rate=0.25)(library.array(w)))
        norms = np.linalg.norm(result.astype(np.float64), axis=0)
        expected = [0.75 * 5 + 0.25 * 2, 0.75 * 0.5 + 0.25 * 1]
        np.testing.assert_allclose(norms, expected, rtol=8 * ROUNDOFF[dtype])

    def test_rate_zero_moves_nothing_and_still_reports(self, library, dtype):
        w = np.asarray([[np.inf, 3.0, np.nan], [1.0, 4.0, 1.0]]).astype(DTYPES[dtype])
        c = MinMaxNorm(0.5, 1, rate=0)
        with library.active():
            assert bits(library.numpy(c(library.array(w)))) == bits(w)
            violation = library.numpy(c.violation(library.array(w)))
        np.testing.assert_array_equal(violation, [[np.inf, 4, np.nan]])

    def test_a_bound_above_the_largest_number_constrains_nothing(self, library, dtype):
        w = np.full((4, 2), ml_largest(dtype)).astype(DTYPES[dtype])
        for c in (MaxNorm(math.inf), MaxNorm(1e308), MinMaxNorm(0, math.inf)):
            if dtype == "float64" and c == MaxNorm(1e308):
                continue
            with library.active():
                x = library.array(w)
                assert bits(library.numpy(c(x))) == bits(w)
                assert not library.numpy(c.violation(x)).any()


def ml_largest(dtype: str) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(DTYPES[dtype]).max)


def assert_inside(result: np.ndarray, w: np.ndarray, bounds: np.ndarray) -> None:
    """Assert that no changed column exceeds its bound, exactly; float64 sieves out the rest."""
    squares = np.sum(result.astype(np.float64) ** 2, axis=0)
    close = squares > bounds**2 * (1 - 1e-12)
    changed = (result.view(np.uint8) != w.view(np.uint8)).reshape(len(w), w.shape[1], -1)
    for i in np.flatnonzero(close & changed.any(axis=(0, 2))):
        assert square_norm(result[:, i]) <= square_norm(bounds[i : i + 1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_radius_is_exceeded_however_the_entries_round(library, dtype, n):
    """Thousands of radii between the numbers of the dtype, one for each slice."""
    if dtype in library.dtypes:
        rng = np.random.default_rng(n)
        bounds = rng.uniform(1, 2, 4000)
        w = (rng.standard_normal((n, 4000)) * 50).astype(DTYPES[dtype])
        result = library.numpy(MaxNorm(bounds)(library.array(w)))
        assert_inside(result, w, bounds)


def test_small_bounds_hold_where_results_are_subnormal(library):
    if "float16" not in library.dtypes:
        return
    rng = np.random.default_rng(3)
    for n in (1, 2, 3, 8, 22):
        bound = math.sqrt(n) * float(np.finfo(np.float16).tiny)
        w = rng.standard_normal((n, 20_000)) * 10.0 ** rng.uniform(-4, 0, (n, 20_000))
        if n == 22:  # the worst: one entry just above a power of two, the others round alike
            w[0], w[1:] = rng.uniform(3900, 4300, 20_000), rng.uniform(450, 580, 20_000)
        w = w.astype(np.float16)
        result = library.numpy(MaxNorm(bound)(library.array(w)))
        assert_inside(result, w, np.full(20_000, bound))


def test_bounds_below_the_range_of_the_dtype_raise_nothing(library):
    """Out of the contract: no exception, no warning, and no slice far from its bound."""
    w = np.asarray([[0.0, 3e-8, 1.0, 6e4], [0.0, 6e-8, -2.0, 6e4]], dtype="float16")
    if "float16" not in library.dtypes:
        w = w.astype("float32")
    for bound in (0, 5e-324, 1e-300, 1e-8, 1e-6, 1e-5):
        shrunk = library.numpy(MaxNorm(bound)(library.array(w)))
        assert np.max(np.abs(shrunk)) <= 2 * bound
        stretched = library.numpy(MinMaxNorm(bound, 1e-3)(library.array(w)))
        assert np.max(np.abs(stretched)) <= 1.01e-3


@pytest.mark.parametrize("bound", [2**31, 10**10, 2**64, 10**300])
def test_integer_bounds_are_as_good_as_floats(library, bound):
    w = library.array(np.full((4, 1), 3e38, dtype="float32"))
    result = library.numpy(MaxNorm(bound)(w))
    assert bits(result) == bits(library.numpy(MaxNorm(float(bound))(w)))
    assert library.numpy(MaxNorm(bound).violation(w)).shape == (1, 1)
    assert library.numpy(MinMaxNorm(0, bound)(w)).shape == (4, 1)


@every_library_and_dtype
def test_bounds_at_the_largest_number_hold(library, dtype):
    largest = ml_largest(dtype)
    w = np.asarray([[1.0, 0.5], [2.0, -0.25]]).astype(DTYPES[dtype])
    with library.active():
        for c in (
            MinMaxNorm(largest, math.inf),
            MinMaxNorm(largest, largest),
            MinMaxNorm(largest * (1 - 2.0**-20), math.inf),
            MinMaxNorm(largest * 0.99, largest),
        ):
            result = library.numpy(c(library.array(w))).astype(np.float64)
            assert np.isfinite(result).all()
            for column in result.T:
                assert relative_excess(column, c.min_value) >= -16 * ROUNDOFF[dtype]
        whole = np.full((3, 2), largest).astype(DTYPES[dtype])
        result = library.numpy(MaxNorm(largest)(library.array(whole)))
        assert all(relative_excess(column, largest) <= 0 for column in result.T)


@every_library_and_dtype
def test_a_lower_bound_at_the_largest_number_is_met_once_and_for_all(library, dtype):
    """No margin fits above it: what falls short by roundoff is kept, and no violation."""
    w = np.stack([np.arange(1.0, 9.0), np.ones(8), np.linspace(0.1, 3, 8)], axis=1)
    with library.active():
        for c in (
            MinMaxNorm(ml_largest(dtype), math.inf),
            MinMaxNorm(0.99 * ml_largest(dtype), math.inf),
        ):
            x = c(library.array(w.astype(DTYPES[dtype])))
            assert bits(library.numpy(c(x))) == bits(library.numpy(x))
            assert not library.numpy(c.violation(x)).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_beside_the_largest_numbers_raises_no_warning(library, dtype):
    if dtype in library.dtypes:
        largest = float(np.finfo(dtype).max)
        w = np.asarray([[np.nan, 1.0], [largest, largest]], dtype=dtype)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            result = library.numpy(MaxNorm(1.0)(library.array(w)))
        assert bits(result[:, 0]) == bits(w[:, 0])


def test_a_bound_between_two_numbers_is_not_rounded_up(library):
    """The norm is c (1 + 2.04 u): beyond the band of 2 u in which it may be kept."""
    c = 1 + 2.0**-24 * 1.0001
    w = np.asarray([[0.19609792530536652], [-0.9805845022201538]], dtype="float32")
    result = library.numpy(MaxNorm(c)(library.array(w)))
    assert relative_excess(result, c) <= 0


class TestByHand:
    def test_max_norm_shrinks_only_the_long_column(self, library):
        w = np.asarray([[3.0, 0.3], [4.0, 0.4]])
        w = w.astype("float32")
        result = library.numpy(MaxNorm(1.0)(library.array(w)))
        np.testing.assert_allclose(result, [[0.6, 0.3], [0.8, 0.4]], rtol=1e-6)
        assert bits(result[:, 1]) == bits(w[:, 1])

    @pytest.mark.parametrize("c", [MaxNorm(5.0), MinMaxNorm(5.0, 9.0), MinMaxNorm(1.0, 5.0)])
    def test_a_slice_on_the_bound_is_kept(self, library, c):
        """Squares and root of 3, 4 and 5 are exact."""
        w = np.asarray([3.0, 4.0], dtype="float32")
        assert bits(library.numpy(c(library.array(w)))) == bits(w)
        assert float(library.numpy(c.violation(library.array(w)))[0]) == 0

    def test_the_largest_number_is_the_norm_of_a_slice(self):
        w = np.asarray([np.finfo("float64").max])
        for c in (MaxNorm(w[0]), MaxNorm(math.inf)):
            assert bits(c(w)) == bits(w)
            assert c.violation(w) == 0

    def test_each_slice_may_have_its_own_radius(self, library):
        w = np.asarray([[3.0, 4.0], [6.0, 8.0], [0.3, 0.4]], dtype="float32")
        c = MaxNorm((1.0, math.inf, 2.0), axis=1)
        result = library.numpy(c(library.array(w)))
        np.testing.assert_allclose(result, [[0.6, 0.8], [6, 8], [0.3, 0.4]], rtol=1e-6)
        np.testing.assert_allclose(
            library.numpy(c.violation(library.array(w))), [[4.0], [0.0], [0.0]], rtol=1e-6
        )

    def test_unit_norm_leaves_a_zero_column_and_reports_it(self, library):
        w = library.array(np.asarray([[3.0, 0.0], [4.0, 0.0]], dtype="float32"))
        np.testing.assert_allclose(
            library.numpy(UnitNorm()(w)), [[0.6, 0], [0.8, 0]], rtol=1e-6
        )
        np.testing.assert_array_equal(library.numpy(UnitNorm().violation(w)), [[4.0, 1.0]])

    def test_empty_arrays_come_back_empty(self, library):
        for shape in ((0, 3), (3, 0), (0,)):
            w = library.array(np.zeros(shape, dtype="float32"))
            for c in (MaxNorm(), UnitNorm(), MinMaxNorm(0.5, 1.0)):
                result = library.numpy(c(w))
                assert result.shape == shape
                assert result.dtype == np.float32
                assert library.numpy(c.violation(w)).shape == (1, *shape[1:])

    def test_a_0d_array_is_one_slice(self, library):
        w = library.array(np.asarray(-5.0, dtype="float32"))
        assert library.numpy(MaxNorm(2, axis=None)(w)) == pytest.approx(-2)
        assert library.numpy(UnitNorm(axis=None)(w)) == -1
        assert library.numpy(UnitNorm(axis=None).violation(w)) == 4

    def test_axis_without_dimensions_makes_slices_of_one_entry(self, library):
        w = library.array(np.asarray([-5.0, 1.0], dtype="float32"))
        np.testing.assert_allclose(library.numpy(MaxNorm(2, axis=())(w)), [-2, 1], rtol=1e-6)

    @pytest.mark.parametrize(
        ("constraint", "dtype", "value", "norm"),
        [
            (MaxNorm(2), "float32", 1e20, 2),
            (MaxNorm(2), "float32", 3e38, 2),
            (MaxNorm(2), "float16", 6e4, 2),
            (MaxNorm(2), "bfloat16", 3e38, 2),
            (UnitNorm(), "float16", 1e-4, 1),
            (UnitNorm(), "float32", 1e-30, 1),
            (MinMaxNorm(0.2, 0.5), "float16", 1e-6, 0.2),
        ],
    )
    def test_squares_may_over_and_underflow(self, library, constraint, dtype, value, norm):
        if dtype in library.dtypes:
            w = library.array(np.full((4, 1), value).astype(DTYPES[dtype]))
            result = library.numpy(constraint(w)).astype(np.float64)
            assert np.linalg.norm(result) == pytest.approx(norm, rel=17 * ROUNDOFF[dtype])

    def test_at_a_rate_of_zero_torch_passes_gradients_on(self):
        torch = pytest.importorskip("torch")
        w = torch.tensor([[3.0, torch.nan], [4.0, 1.0]], requires_grad=True)
        upstream = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        (found,) = torch.autograd.grad(MinMaxNorm(0.5, 1, rate=0)(w), w, upstream)
        assert torch.equal(found, upstream)

    @pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), None])
    def test_a_part_has_the_radii_of_its_slices(self, axis):
        shape, axes = (3, 4, 5), normalized(axis, 3)
        slices = math.prod(n for i, n in enumerate(shape) if i not in axes)
        c, w = MaxNorm(np.linspace(0.1, 2, slices), axis), np.full(shape, 3.0)
        cuts = (slice(1, 3), slice(2, None), slice(1, 4))
        part = tuple(slice(0, n) if i in axes else cuts[i] for i, n in enumerate(shape))
        assert bits(c.for_part(shape, axes, part)(w[part])) == bits(c(w)[part])

    @pytest.mark.parametrize(
        ("make", "bound", "norms"),
        [
            (MaxNorm, 1.0, (1.0, 0.5)),
            (MaxNorm, [1.0, 0.25], (1.0, 0.25)),
            (lambda lower: MinMaxNorm(lower, 2.0), 0.75, (2.0, 0.75)),
            (lambda upper: MinMaxNorm(0.75, upper), 1.5, (1.5, 0.75)),
        ],
    )
    def test_a_bound_that_jax_traces(self, make, bound, norms):
        jax = pytest.importorskip("jax")
        w = jax.numpy.asarray([[3.0, 0.3], [4.0, 0.4]])
        result = jax.jit(lambda bound: make(bound)(w))(jax.numpy.asarray(bound))
        np.testing.assert_allclose(np.linalg.norm(result, axis=0), norms, rtol=1e-6)

    @pytest.mark.parametrize("radii", [[1.0], [1.0, 2.0, 3.0]])
    def test_the_number_of_radii_that_jax_traces_must_fit(self, radii):
        jax = pytest.importorskip("jax")
        w = jax.numpy.ones((3, 2))
        with pytest.raises(ValueError, match=f"max_value has {len(radii)} entries"):
            jax.jit(lambda radii: MaxNorm(radii)(w))(jax.numpy.asarray(radii))

    def test_a_negative_upper_bound_is_refused_by_its_name(self):
        with pytest.raises(ValueError, match=r"max_value must be at least 0, got -0.5"):
            MinMaxNorm(0, -0.5)

    def test_in_torch_the_gradients_of_long_slices_are_rounded_once(self):
        """Across equal entries: 1 / norm times a number, the same one for all slices."""
        torch = pytest.importorskip("torch")
        values = np.random.default_rng(0).uniform(1, 2, (64, 1)).astype("float32")
        w = torch.tensor(np.repeat(values, 4096, axis=1), requires_grad=True)
        across = torch.ones_like(w)
        across[:, 1::2] = -1
        (gradient,) = torch.autograd.grad(MaxNorm(1.0, axis=1)(w), w, across)
        found = gradient.numpy()[:, :1].astype("float64") * values * 64  # of that norm
        assert found.max() - found.min() <= 2.01 * ROUNDOFF["float32"]

    def test_nan_and_infinity_stay_in_their_slice(self, library):
        w = np.asarray([[np.nan, np.inf, 3.0], [1.0, 1.0, 4.0]], dtype="float32")
        result = library.numpy(MaxNorm(1)(library.array(w)))
        assert bits(result[:, :2]) == bits(w[:, :2])
        np.testing.assert_allclose(result[:, 2], [0.6, 0.8], rtol=1e-6)
        violation = library.numpy(MaxNorm(1).violation(library.array(w)))
        np.testing.assert_allclose(violation, [[np.nan, np.inf, 4.0]], rtol=1e-6)


def test_a_hundred_thousand_applications_change_no_bit_of_a_satisfied_weight():
    w = np.full((4, 4), 5e-5, dtype=np.float32)  # columns of norm 1e-4
    x, constraint = w.copy(), MaxNorm(2)
    for _ in range(100_000):
        x = constraint(x)
    assert bits(x) == bits(w)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_million_equal_entries_keep_the_contract(order):
    for dtype in ("float32", "float64"):
        w = np.full((2**20, 2), 1.3, dtype=dtype, order=order)
        result = MaxNorm(2)(w)
        for column in result.T:
            excess = relative_excess(column, 2.0)
            assert -(12 + 1.5 * 20) * ROUNDOFF[dtype] <= excess <= 0


def test_memory_order_strides_and_byte_order_do_not_matter():
    w = np.random.default_rng(0).standard_normal((6, 8))
    expected = MaxNorm(1)(w)
    padded = np.zeros((12, 16))
    padded[::2, ::2] = w
    for same in (np.asfortranarray(w), padded[::2, ::2], w.astype(">f8"), w[::-1][::-1]):
        result = MaxNorm(1)(same)
        assert result.dtype == same.dtype
        np.testing.assert_allclose(result, expected, rtol=2 * (12 + 1.5 * 3) * 2.0**-53, atol=0)
