"""CuPy: results as on NumPy, on the device."""

from __future__ import annotations

import numpy as np
import pytest

cupy = pytest.importorskip("cupy")
if not cupy.cuda.is_available():
    pytest.skip("CuPy finds no GPU", allow_module_level=True)

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm

CONSTRAINTS = [MaxNorm(2.0, 0), MinMaxNorm(0.5, 2.0, 0.7, 1), NonNeg(), UnitNorm((0, 1))]


def weight(dtype: str) -> np.ndarray:
    made = np.random.default_rng(0).standard_normal((257, 130)).astype(dtype)
    made[0, :2] = -0.0, 0.0
    made[:, 5] = 0
    return made


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda c: type(c).__name__)
class TestCalls:
    def test_the_result_is_that_of_numpy(self, constraint, dtype):
        w = weight(dtype)
        found, expected = constraint(cupy.asarray(w)), constraint(w)
        assert isinstance(found, cupy.ndarray)
        assert found.dtype == w.dtype
        rtol = 2 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(found.get(), expected, rtol=rtol, atol=0)
        np.testing.assert_array_equal(np.signbit(found.get()), np.signbit(expected))

    def test_in_place_and_violation(self, constraint, dtype):
        w = cupy.asarray(weight(dtype))
        expected = constraint(w)
        assert constraint(w, copy=False) is w
        assert w.get().tobytes() == expected.get().tobytes()
        assert isinstance(constraint.violation(w), cupy.ndarray)

    def test_feasible_weights_keep_their_bits(self, constraint, dtype):
        once = constraint(cupy.asarray(weight(dtype)))
        if getattr(constraint, "rate", 1.0) == 1.0:
            assert constraint(once).get().tobytes() == once.get().tobytes()
