"""Adapters of functions of JAX that project one vector."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from array_constraints_conformance.peers.signatures import Normal
from array_constraints_conformance.peers.slices import OfRows


class Vmapped(OfRows):
    """A constraint of a peer that projects one vector: ``jax.vmap`` maps it over the rows."""

    permute = staticmethod(jnp.permute_dims)

    @abstractmethod
    def row(self, row: Any) -> Any:
        """Return the peer's result for one slice."""

    def rows(self, rows: Any) -> Any:
        return jax.vmap(self.row)(rows)


def normal_of(normal: Normal, row: Any) -> Any:
    """Return a normal vector of as many entries as a slice has, in the dtype of that."""
    return jnp.asarray(np.resize(np.asarray(normal), row.shape), dtype=row.dtype)
