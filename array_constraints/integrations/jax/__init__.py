"""JAX: rules on pytrees, in training steps of optax, and models of Flax and Equinox."""

import importlib.util

if importlib.util.find_spec("jax") is None:
    raise ModuleNotFoundError(
        "array_constraints.integrations.jax needs JAX: pip install jax", name="jax"
    )

from array_constraints.integrations.jax.projection import Projection, projection
from array_constraints.integrations.jax.transformation import constrain
from array_constraints.layers.flax import described

__all__ = ["Projection", "constrain", "described", "projection"]
