"""EDM2: forced weight normalisation, as its paper states it, on PyTorch."""

from __future__ import annotations

import math
from typing import Any

import torch

from array_constraints_conformance.peers import signatures
from array_constraints_conformance.peers.slices import OfRows

__version__ = torch.__version__
CONFORMANCE_SCOPES = ("map",)
EPSILON = 1e-4


class Sphere(signatures.Sphere, OfRows):
    """The weight over the root mean square of a slice plus ``EPSILON``, times the radius."""

    permute = staticmethod(torch.permute)

    def rows(self, rows: Any) -> Any:
        n = max(rows.shape[1], 1)
        wide = torch.promote_types(rows.dtype, torch.float32)
        norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=wide)
        unit = rows / (EPSILON + norm / math.sqrt(n)).to(rows.dtype)
        return unit * (self.norm(rows) / math.sqrt(n))
