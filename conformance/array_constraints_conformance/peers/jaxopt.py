"""JAXopt: the functions of ``jaxopt.projection``."""

from __future__ import annotations

from typing import Any

from jaxopt import projection
from jaxopt.version import __version__  # noqa: F401

from array_constraints_conformance.peers import signatures
from array_constraints_conformance.peers.vmapped import Vmapped, normal_of

CONFORMANCE_SCOPES = ("map",)


class MaxNorm(Vmapped, signatures.MaxNorm):
    def row(self, row: Any) -> Any:
        return projection.projection_l2_ball(row, self.max_value)


class UnitNorm(Vmapped, signatures.UnitNorm):
    def row(self, row: Any) -> Any:
        return projection.projection_l2_sphere(row)


class NonNeg:
    def __call__(self, w: Any) -> Any:
        return projection.projection_non_negative(w)


class Box(signatures.Box):
    def __call__(self, w: Any) -> Any:
        return projection.projection_box(w, (self.min_value, self.max_value))


class Sphere(Vmapped, signatures.Sphere):
    def row(self, row: Any) -> Any:
        return projection.projection_l2_sphere(row, self.norm(row))


class Halfspace(Vmapped, signatures.Halfspace):
    def row(self, row: Any) -> Any:
        plane = normal_of(self.normal, row), self.bound
        return projection.projection_halfspace(row, plane)


class Hyperplane(Vmapped, signatures.Hyperplane):
    def row(self, row: Any) -> Any:
        plane = normal_of(self.normal, row), self.value
        return projection.projection_hyperplane(row, plane)


class Simplex(Vmapped, signatures.Simplex):
    def row(self, row: Any) -> Any:
        return projection.projection_simplex(row, self.total)


class L1Ball(Vmapped, signatures.L1Ball):
    def row(self, row: Any) -> Any:
        return projection.projection_l1_ball(row, self.radius)
