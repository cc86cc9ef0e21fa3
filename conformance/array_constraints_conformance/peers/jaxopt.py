"""JAXopt: ``projection_l2_ball``, ``projection_l2_sphere`` and ``projection_non_negative``."""

import jax
from jax.numpy import permute_dims
from jaxopt import projection
from jaxopt.version import __version__  # noqa: F401

from array_constraints_conformance.peers.slices import constraints_of

CONFORMANCE_SCOPES = ("map",)
MaxNorm, UnitNorm, NonNeg = constraints_of(
    projection.projection_l2_ball,
    projection.projection_l2_sphere,
    projection.projection_non_negative,
    vmap=jax.vmap,
    permute=permute_dims,
)
