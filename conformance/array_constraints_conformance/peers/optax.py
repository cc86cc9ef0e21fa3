"""Optax: the functions of ``optax.projections``."""

from __future__ import annotations

from typing import Any

import optax
from optax import projections

from array_constraints_conformance.peers import signatures
from array_constraints_conformance.peers.vmapped import Vmapped, normal_of

__version__ = optax.__version__
CONFORMANCE_SCOPES = ("map",)


class MaxNorm(Vmapped, signatures.MaxNorm):
    def row(self, row: Any) -> Any:
        return projections.projection_l2_ball(row, self.max_value)


class UnitNorm(Vmapped, signatures.UnitNorm):
    def row(self, row: Any) -> Any:
        return projections.projection_l2_sphere(row)


class NonNeg:
    def __call__(self, w: Any) -> Any:
        return projections.projection_non_negative(w)


class Box(signatures.Box):
    def __call__(self, w: Any) -> Any:
        return projections.projection_box(w, self.min_value, self.max_value)


class Sphere(Vmapped, signatures.Sphere):
    def row(self, row: Any) -> Any:
        return projections.projection_l2_sphere(row, self.norm(row))


class Halfspace(Vmapped, signatures.Halfspace):
    def row(self, row: Any) -> Any:
        return projections.projection_halfspace(row, normal_of(self.normal, row), self.bound)


class Hyperplane(Vmapped, signatures.Hyperplane):
    def row(self, row: Any) -> Any:
        return projections.projection_hyperplane(row, normal_of(self.normal, row), self.value)


class Simplex(Vmapped, signatures.Simplex):
    def row(self, row: Any) -> Any:
        return projections.projection_simplex(row, self.total)


class L1Ball(Vmapped, signatures.L1Ball):
    def row(self, row: Any) -> Any:
        return projections.projection_l1_ball(row, self.radius)
