"""Optax: ``projection_l2_ball``, ``projection_l2_sphere`` and ``projection_non_negative``."""

import jax
import optax
from jax.numpy import permute_dims
from optax import projections

from array_constraints_conformance.peers.slices import constraints_of

__version__ = optax.__version__
CONFORMANCE_SCOPES = ("map",)
MaxNorm, UnitNorm, NonNeg = constraints_of(
    projections.projection_l2_ball,
    projections.projection_l2_sphere,
    projections.projection_non_negative,
    vmap=jax.vmap,
    permute=permute_dims,
)
