"""What any library that follows the standard gets: ``Library`` itself, on NumPy's namespace."""

import array_api_compat.numpy as xp
import numpy as np
import pytest
from libraries import bits

from array_constraints import libraries
from array_constraints.libraries.base import Library

STANDARD = Library(xp)


class Named(Library):
    """It keeps which way each sum was added."""

    def __init__(self):
        super().__init__(xp)
        self.ways = []

    def _add(self, x, scale, axes, term):
        self.ways.append("pairwise")
        return super()._add(x, scale, axes, term)

    def _add_in_any_order(self, x, scale, axes, term):
        self.ways.append("in any order")
        return xp.sum(term(x, scale), axis=axes, keepdims=True)


@pytest.mark.parametrize(
    ("dtype", "way"),
    [("float16", "in any order"), ("float32", "in any order"), ("float64", "pairwise")],
)
def test_sums_are_in_any_order_only_where_the_accumulator_has_digits_to_spare(dtype, way):
    x = np.asarray([[1, -2], [3, 4]], dtype)
    for name, expected in (("sum", [4, 2]), ("sum_of_squares", [10, 20])):
        library = Named()
        found = getattr(library, name)(x, (0,))
        assert library.ways == [way]
        assert np.asarray(getattr(found, "value", found)).tolist() == [expected]
    library = Named()
    assert library.sum_of_magnitudes(x, (0,)).value.tolist() == [[4, 6]]
    assert library.ways == [way]


def test_products_are_made_in_the_wider_dtype_and_rounded_once():
    w = np.asarray([[3.0, 1.0]], np.float32)
    factor = np.asarray([[0.1, 2**-30]])
    found = STANDARD.product(w, factor)
    assert found.dtype == np.float32
    assert bits(found) == bits((w.astype(np.float64) * factor).astype(np.float32))


def test_zeros_and_nan_are_not_negative():
    w = np.asarray([-1.0, -0.0, 0.0, 1.0, np.nan, -np.inf])
    assert STANDARD.negative(w).tolist() == [True, False, False, False, False, True]


def test_constants_are_alike_where_that_is_asked_for():
    like = np.zeros((1, 2), np.float32)
    alike = STANDARD.constant([0.1, 0.2], like, alike=True)
    assert (alike.dtype, alike.shape) == (np.float32, (1, 2))
    other = STANDARD.constant([0.1, 0.2], like)
    assert (other.dtype, other.shape) == (np.float64, (2,))


def test_the_entries_of_slices_of_unknown_length_are_counted():
    da = pytest.importorskip("dask.array")
    w = da.from_array(np.asarray([[1.0, 2.0], [-3.0, 4.0], [5.0, 6.0]]), chunks=(2, 2))
    some = w[w[:, 0] > 0]
    assert np.isnan(some.shape[0])
    found = libraries.of(some).count(some, (0,))
    assert found.compute().tolist() == [[2, 2]]
    assert libraries.of(some).count(some, (1,)) == 2
