"""Optax: ``projection_l2_ball``, ``projection_l2_sphere`` and ``projection_non_negative``."""

from __future__ import annotations

from typing import Any

import jax
import optax
from jax.numpy import permute_dims

from array_constraints_conformance.peers.slices import Axis, project_rows

__version__ = optax.__version__
CONFORMANCE_SCOPES = ("map",)


class MaxNorm:
    """``optax.projections.projection_l2_ball`` of each slice."""

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Any:
        def project(row: Any) -> Any:
            return optax.projections.projection_l2_ball(row, self.max_value)

        return project_rows(w, self.axis, permute_dims, jax.vmap(project))


class UnitNorm:
    """``optax.projections.projection_l2_sphere`` of each slice."""

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        project = optax.projections.projection_l2_sphere
        return project_rows(w, self.axis, permute_dims, jax.vmap(project))


class NonNeg:
    """``optax.projections.projection_non_negative``."""

    def __call__(self, w: Any) -> Any:
        return optax.projections.projection_non_negative(w)
