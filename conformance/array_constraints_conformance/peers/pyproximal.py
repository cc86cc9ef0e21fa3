"""PyProximal: the projections of ``pyproximal.projection``, which take one vector."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from pyproximal import projection
from pyproximal.version import __version__  # noqa: F401

from array_constraints_conformance.peers import signatures
from array_constraints_conformance.peers.slices import OfRows

CONFORMANCE_SCOPES = ("map",)


class OneByOne(OfRows):
    """A constraint of a peer that projects one vector: the rows are given to it in turn."""

    permute = staticmethod(np.transpose)

    @abstractmethod
    def row(self, row: np.ndarray) -> Any:
        """Return the peer's result for one slice."""

    def rows(self, rows: np.ndarray) -> Any:
        return np.stack([self.row(row) for row in rows]) if rows.size else rows


def normal_of(normal: signatures.Normal, row: np.ndarray) -> np.ndarray:
    """Return a normal vector of as many entries as a slice has, in the dtype of that."""
    return np.resize(np.asarray(normal, dtype=row.dtype), row.shape)


class MaxNorm(OneByOne, signatures.MaxNorm):
    def row(self, row: np.ndarray) -> Any:
        return projection.EuclideanBallProj(0, self.max_value)(row)


class NonNeg:
    def __call__(self, w: Any) -> Any:
        return projection.BoxProj(lower=0)(w)


class Box(signatures.Box):
    def __call__(self, w: Any) -> Any:
        return projection.BoxProj(self.min_value, self.max_value)(w)


class NMSparse(signatures.NMSparse, OneByOne):
    def groups(self, groups: Any) -> Any:
        return OneByOne.rows(self, groups)

    def row(self, row: np.ndarray) -> Any:
        return projection.L0BallProj(self.n)(row)


class Sparse(OneByOne, signatures.Sparse):
    def row(self, row: np.ndarray) -> Any:
        return projection.L0BallProj(self.most(row.size))(row)


class Halfspace(OneByOne, signatures.Halfspace):
    def row(self, row: np.ndarray) -> Any:
        return projection.HalfSpaceProj(normal_of(self.normal, row), self.bound)(row)


class Hyperplane(OneByOne, signatures.Hyperplane):
    def row(self, row: np.ndarray) -> Any:
        return projection.HyperPlaneBoxProj(normal_of(self.normal, row), self.value)(row)


class Simplex(OneByOne, signatures.Simplex):
    def row(self, row: np.ndarray) -> Any:
        return projection.SimplexProj(row.size, self.total)(row)


class L1Ball(OneByOne, signatures.L1Ball):
    def row(self, row: np.ndarray) -> Any:
        return projection.L1BallProj(row.size, self.radius)(row)
