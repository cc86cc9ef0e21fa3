"""JAX on a GPU: results as on NumPy, nothing moved between devices, and a training loop."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
if jax.default_backend() != "gpu":
    pytest.skip("JAX finds no GPU", allow_module_level=True)
import jax.numpy as jnp
import optax

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.integrations.jax import constrain

CONSTRAINTS = [MaxNorm(2.0, 0), MinMaxNorm(0.5, 2.0, 0.7, 1), NonNeg(), UnitNorm((0, 1))]


def weight() -> np.ndarray:
    made = np.random.default_rng(0).standard_normal((257, 130), "float32")
    made[0, :2] = -0.0, 0.0
    made[:, 5] = 0
    return made


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda c: type(c).__name__)
class TestCalls:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
    def test_the_result_is_that_of_numpy(self, constraint, dtype):
        w = jnp.asarray(weight(), dtype)
        found, expected = np.asarray(constraint(w)), constraint(np.asarray(w))
        assert found.dtype == expected.dtype
        rtol = 2 * float(jnp.finfo(dtype).eps)
        found, expected = found.astype("float64"), expected.astype("float64")
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=0)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))

    def test_under_jit_nothing_leaves_the_device(self, constraint):
        w = jnp.asarray(weight())
        call = jax.jit(lambda w: constraint(w))
        compiled = call.lower(w).compile()
        with jax.transfer_guard("disallow"):
            found = compiled(w)
        np.testing.assert_allclose(found, constraint(w), rtol=2.0**-22, atol=0)

    def test_feasible_weights_keep_their_bits(self, constraint):
        once = constraint(jnp.asarray(weight()))
        if getattr(constraint, "rate", 1.0) == 1.0:
            assert np.asarray(constraint(once)).tobytes() == np.asarray(once).tobytes()


def test_weights_are_held_after_each_step():
    rng = np.random.default_rng(0)
    params = {"kernel": jnp.asarray(rng.standard_normal((64, 10)), "float32")}
    x = jnp.asarray(rng.standard_normal((32, 64)), "float32")
    optimizer = optax.chain(optax.adam(0.1), constrain(params, [("kernel", MaxNorm(0.5, 0))]))
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        gradients = jax.grad(lambda p: jnp.mean((x @ p["kernel"] - 1) ** 2))(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(5):
        params, state = step(params, state)
        norms = np.linalg.norm(np.asarray(params["kernel"], "float64"), axis=0)
        assert norms.max() <= 0.5 * (1 + 2.0**-22)
