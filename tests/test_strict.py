"""array-api-strict: every version of the standard it offers, without the optional parts."""

from __future__ import annotations

from collections.abc import Iterator

import array_api_strict
import numpy as np
import pytest
from libraries import ROUNDOFF

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, RadialConstraint, UnitNorm, libraries
from array_constraints.executors.change import Change
from array_constraints.parameters import axes_of

VERSIONS = ["2023.12", "2024.12", "2025.12"]
CONSTRAINTS = [
    MaxNorm(1.0),
    MaxNorm(1.0, None),
    MaxNorm((1.0, 0.5, 2.0)),
    MinMaxNorm(0.5, 1.0),
    MinMaxNorm(0.5, 1.0, 0.5, -1),
    UnitNorm(),
    UnitNorm((0, 1)),
    NonNeg(),
]


@pytest.fixture(params=VERSIONS)
def xp(request) -> Iterator:
    with array_api_strict.ArrayAPIStrictFlags(
        api_version=request.param,
        boolean_indexing=False,
        data_dependent_shapes=False,
        enabled_extensions=(),
    ):
        yield array_api_strict


def test_the_flags_are_what_this_test_says(xp):
    with pytest.raises(AttributeError):
        xp.linalg.vector_norm(xp.ones(2))
    with pytest.raises(RuntimeError):
        xp.nonzero(xp.ones(2))


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constraints_use_the_standard_alone(xp, constraint, dtype):
    values = np.random.default_rng(0).standard_normal((7, 3)).astype(dtype)
    w = xp.asarray(values.tolist(), dtype=getattr(xp, dtype))
    agree = 2 * (12 + 1.5 * 5) * ROUNDOFF[dtype]  # twice the tolerance of the contract, n <= 21
    np.testing.assert_allclose(
        np.asarray(constraint(w)._array), constraint(values), rtol=agree, atol=0
    )
    np.testing.assert_allclose(
        np.asarray(constraint.violation(w)._array),
        constraint.violation(values),
        rtol=agree,
        atol=4 * agree,  # of the norm, which is below 4
    )
    if hasattr(constraint, "measure"):
        a, b = (
            constraint.measure(part, axes_of(constraint, w), xp)
            for part in (w[:3, :], w[3:, :])
        )
        if axes_of(constraint, w) == (0,):
            merged = constraint.apply(w, constraint.merge(a, b, xp), xp)
            np.testing.assert_allclose(merged._array, constraint(values), rtol=1e-6)


def test_a_radial_kernel_uses_the_standard_alone(xp):
    values = np.random.default_rng(0).standard_normal((4, 4, 2, 3))
    w = xp.asarray(values.tolist(), dtype=xp.float64)
    np.testing.assert_array_equal(RadialConstraint()(w)._array, RadialConstraint()(values))


def test_every_version_from_2023_12_on_is_tried():
    """Fails when array-api-strict offers a finished version that this file does not try."""
    offered = []
    for year in range(2023, 2040):
        try:
            with array_api_strict.ArrayAPIStrictFlags(api_version=f"{year}.12"):
                offered.append(f"{year}.12")
        except (ValueError, UserWarning):  # unknown, or a draft
            break
    assert offered == VERSIONS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_of_any_library_are_changed_as_their_measure_asks(xp, dtype):
    """Dask's chunks may be arrays of a library that is known by the standard alone."""
    rows = np.asarray([[3.0, 0.3, np.nan], [4.0, 0.4, 1.0]], dtype)
    w, constraint = xp.asarray(rows), MaxNorm(2.5)
    library = libraries.of(w)
    change = Change.of(constraint, constraint.measure(w, (0,), library.xp), library)
    expected = np.asarray([[1.5, 0.3, np.nan], [2.0, 0.4, 1.0]], dtype)
    changed = np.asarray(change.made(constraint, w, (0,)))
    np.testing.assert_allclose(changed, expected, rtol=16 * ROUNDOFF[dtype])
    assert changed[:, 1:].tobytes() == expected[:, 1:].tobytes()


def test_large_chunks_are_changed_in_pieces(xp):
    rows = np.random.default_rng(0).standard_normal((1024, 300)).astype("float32")
    w, constraint = xp.asarray(rows), MaxNorm(1e-25)
    library = libraries.of(w)
    change = Change.of(constraint, constraint.measure(w, (0,), library.xp), library)
    norms = np.linalg.norm(
        np.asarray(change.made(constraint, w, (0,))).astype("float64"), axis=0
    )
    np.testing.assert_allclose(norms, 1e-25, rtol=1e-5)
