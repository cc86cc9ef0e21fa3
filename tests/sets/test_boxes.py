"""Box by hand and by property, on every library."""

import math
from fractions import Fraction

import numpy as np
import pytest
from array_constraints_conformance.numerics.formats import FORMATS
from hypothesis import given
from hypothesis import strategies as st
from libraries import DTYPES, bits

from array_constraints import Box
from array_constraints.numerics import inwards
from array_constraints.numerics.formats import FORMATS as OURS

INF = math.inf


def test_entries_beyond_a_bound_are_at_it_and_the_rest_keeps_its_bits(library):
    for dtype in library.dtypes:
        w = np.asarray([-3.0, -0.0, 0.0, 0.25, np.nan, np.inf, -np.inf]).astype(DTYPES[dtype])
        result = library.numpy(Box(-1.0, 0.5)(library.array(w)))
        expected = np.asarray([-1.0, -0.0, 0.0, 0.25, np.nan, 0.5, -1.0]).astype(DTYPES[dtype])
        assert bits(result) == bits(expected)
        violation = library.numpy(Box(-1.0, 0.5).violation(library.array(w)))
        np.testing.assert_array_equal(violation, [2, 0, 0, 0, np.nan, np.inf, np.inf])


def test_a_bound_of_zero_leaves_both_zeros(library):
    for dtype in library.dtypes:
        w = np.asarray([-0.0, 0.0, -2.0, 3.0]).astype(DTYPES[dtype])
        for box, expected in (
            (Box(0.0, INF), [-0.0, 0.0, 0.0, 3.0]),
            (Box(-INF, 0.0), [-0.0, 0.0, -2.0, 0.0]),
        ):
            result = library.numpy(box(library.array(w)))
            assert bits(result) == bits(np.asarray(expected).astype(DTYPES[dtype]))


@pytest.mark.parametrize("bounds", [(-0.1, 0.3), (1e-3, 1 / 3), (-1e30, 1e30), (-7e4, 7e4)])
def test_no_result_is_outside_though_no_format_holds_the_bound(library, bounds):
    low, high = map(Fraction, bounds)
    for dtype in library.dtypes:
        largest = float(FORMATS[dtype].largest)
        w = np.asarray([-largest, largest, -0.2, 0.4, 0.0, 0.31, np.inf, -np.inf])
        result = library.numpy(Box(*bounds)(library.array(w.astype(DTYPES[dtype]))))
        assert np.isfinite(result.astype(np.float64)).all()
        for entry in result.astype(np.float64):
            assert low <= Fraction(float(entry)) <= high
        again = library.numpy(Box(*bounds)(library.array(result)))
        assert bits(again) == bits(result)
        violation = library.numpy(Box(*bounds).violation(library.array(result)))
        assert not violation.any()


def test_a_box_without_a_number_of_the_dtype_is_refused(library):
    w = library.array(np.asarray([0.1], "f4"))
    with pytest.raises(ValueError, match=r"no finite float32 lies between min_value 0\.1 and"):
        Box(0.1, 0.1)(w)
    for bounds in ((1e39, INF), (-INF, -1e39), (INF, INF), (1e-50, 2e-50)):
        with pytest.raises(ValueError, match="no finite float32 lies between"):
            Box(*bounds)(w)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8"])
def test_integers_have_whole_bounds_inside(library, dtype):
    info = np.iinfo(dtype)
    w = np.asarray([info.min, info.max, 0, 3], dtype=dtype)
    for low, high in ((-1.5, 2.5), (-INF, 2), (-1e30, 1e30), (0.5, INF)):
        result = library.numpy(Box(low, high)(library.array(w)))
        assert result.dtype == w.dtype
        least = info.min if low < info.min else math.ceil(low)
        most = info.max if high > info.max else math.floor(high)
        np.testing.assert_array_equal(result, np.clip(w.astype(object), least, most))
    with pytest.raises(ValueError, match=f"no finite {dtype} lies between"):
        Box(0.25, 0.75)(library.array(w))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1.0, -1.0), ValueError, "min_value must not exceed max_value, got 1.0 > -1.0"),
        ((math.nan, 1.0), ValueError, "min_value must be a number, not NaN, got nan"),
        ((0.0, math.nan), ValueError, "max_value must be a number, not NaN, got nan"),
        (("0", 1.0), TypeError, "min_value must be a real number, got '0'"),
        ((True, 1.0), TypeError, "min_value must be a real number, got True"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Box(*arguments)


@given(st.floats(allow_nan=False), st.sampled_from(sorted(OURS)))
def test_a_bound_is_the_nearest_number_inside(x, name):
    low, high = inwards.bounds(x, x, name)
    dtype = DTYPES[name]
    for bound, is_inside in ((low, lambda b: b >= x), (high, lambda b: b <= x)):
        assert is_inside(bound)
        assert math.isinf(bound) or float(np.asarray(bound).astype(dtype)) == bound
    with np.errstate(over="ignore"):
        near = float(np.asarray(x).astype(dtype))
    assert high <= near <= low or math.isinf(near)  # no number is nearer
    assert low == high == x if near == x and not math.isinf(x) else True


@given(
    st.lists(st.floats(width=32), min_size=6, max_size=6),
    st.floats(-4, 4).filter(lambda x: x == 0 or abs(x) > 1e-30),  # XLA has no subnormal ones
    st.floats(0.125, 4),
)
def test_arrays_as_bounds_are_rounded_as_numbers_are(entries, low, width):
    jax = pytest.importorskip("jax")
    w = np.asarray(entries, "f4")
    w[np.abs(w) < 2.0**-126] = 0  # what XLA counts as zero
    w[np.isnan(w)] = np.nan
    found = np.asarray(Box(low, low + width)(jax.numpy.asarray(w)))
    expected = Box(low, low + width)(w)
    assert bits(found + 0.0) == bits(expected + 0.0)


def test_one_program_of_jax_serves_all_bounds():
    jax = pytest.importorskip("jax")
    traced = []

    @jax.jit
    def clipped(w, bound):
        traced.append(bound)
        return Box(-bound, bound)(w)

    for bound in (0.5, 0.25, 0.1):
        found = np.asarray(clipped(jax.numpy.asarray([3.0, -3.0, 0.0]), bound))
        assert (abs(found[:2]) <= bound).all()
    assert len(traced) == 1


@pytest.mark.parametrize("shape", [(2100, 1100), (7, 5)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_in_place_and_in_blocks(shape, order):
    torch = pytest.importorskip("torch")
    w = np.asarray(np.random.default_rng(0).standard_normal(shape), "f4", order=order)
    expected = np.clip(w, np.float32(-0.3), np.float32(0.7))
    expected = Box(-0.3, 0.7)(expected)  # the bounds, rounded inwards
    found, tensor = w.copy(order="K"), torch.from_numpy(w.copy(order="K"))
    assert Box(-0.3, 0.7)(found, copy=False) is found
    Box(-0.3, 0.7)(tensor, copy=False)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(tensor.numpy(), expected)
    np.testing.assert_array_equal(Box(-0.3, 0.7)(w), expected)
    assert Box(-9.0, 9.0)(w) is w


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_derivative_is_1_inside_and_at_the_bounds(dtype):
    torch = pytest.importorskip("torch")
    w = torch.tensor([-2.0, -1.0, 0.0, 0.5, 3.0], dtype=getattr(torch, dtype))
    w.requires_grad_()
    Box(-1.0, 0.5)(w).sum().backward()
    assert w.grad.tolist() == [0, 1, 1, 1, 0]
    jax = pytest.importorskip("jax")
    found = jax.grad(lambda w: Box(-1.0, 0.5)(w).sum())(jax.numpy.asarray(w.detach().numpy()))
    assert found.tolist() == [0, 1, 1, 1, 0]
