"""One decision: a slice is kept with its bits exactly where its violation is 0."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import DTYPES, LIBRARIES_AND_DTYPES, NUMPY, ROUNDOFF, TORCH

from array_constraints import MaxNorm, MinMaxNorm, UnitNorm

SLICES, ENTRIES = 100_000, 3


def near(dtype, bounds, seed=0):
    """Slices as columns, with norms within a few roundoffs of their bounds."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((ENTRIES, SLICES))
    steps = rng.integers(-8, 9, SLICES) * ROUNDOFF[str(dtype)]
    w *= bounds * (1 + steps) / np.linalg.norm(w, axis=0)
    return w


@pytest.mark.parametrize(
    ("library", "dtype"), LIBRARIES_AND_DTYPES, ids=lambda value: str(value)
)
@pytest.mark.parametrize(
    "constraint",
    [MaxNorm(0.7), MinMaxNorm(0.7, 1.3), MinMaxNorm(0.7, 0.7), UnitNorm()],
    ids=["ball", "annulus", "sphere", "unit"],
)
def test_a_slice_is_kept_exactly_where_its_violation_is_0(library, dtype, constraint):
    bound = 1.0 if isinstance(constraint, UnitNorm) else 0.7
    values = near(dtype, bound).astype(DTYPES[dtype])
    with library.active():
        w = library.array(values)
        result, violation = constraint(w), library.numpy(constraint.violation(w))
        image = library.numpy(result)
        unit = f"u{values.dtype.itemsize}"
        kept = (image.view(unit) == values.view(unit)).all(axis=0)
        np.testing.assert_array_equal(kept, violation[0] == 0)
        assert 0.05 < kept.mean() < 0.999
        assert not library.numpy(constraint.violation(result)).any()


@pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
def test_an_array_at_hand_comes_back_as_itself_where_all_of_it_is_kept(library):
    """The norms of one slice each: also beside a bound, and by a root that is not exact."""
    rng = np.random.default_rng(1)
    with library.active():
        for _ in range(2000):
            values = rng.integers(1, 1000, (3, 1)).astype("float64")
            radius = float(np.sqrt((values**2).sum()))
            for c in (MaxNorm(radius), MaxNorm(np.nextafter(radius, 0)), UnitNorm()):
                w = library.array(values)
                assert (c(w) is w) == (not library.numpy(c.violation(w)).any())


@pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
@pytest.mark.parametrize(
    ("w", "bound", "least"),
    [
        ([2.0**-1060, 2.0**-1074], 2.0**-1060, 2.0**-1074),  # the smallest number there is
        ([1.0, 2.0**-26], 1.0, 2.0**-53),  # a root of 1, of a square of 1 + 2 u
    ],
)
def test_a_slice_that_moves_has_a_violation_though_its_norm_rounds_to_the_bound(
    library, w, bound, least
):
    with library.active():
        found = library.numpy(MaxNorm(bound).violation(library.array(np.asarray(w))))
    assert found.tolist() == [least]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bound", [np.inf, (np.inf, np.inf)], ids=["one", "per slice"])
def test_an_infinite_bound_allows_infinity(dtype, bound):
    w = np.asarray([[np.inf, np.nan], [1.0, 2.0]], dtype)
    np.testing.assert_array_equal(MaxNorm(bound).violation(w), [[0, np.nan]])
    assert MaxNorm(bound)(w).tobytes() == w.tobytes()
