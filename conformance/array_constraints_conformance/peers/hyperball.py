"""Hyperball: each weight keeps a fixed norm, as by hooks after a step, on PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from array_constraints_conformance.peers import signatures
from array_constraints_conformance.peers.slices import OfRows

__version__ = torch.__version__
CONFORMANCE_SCOPES = ("map",)


class Sphere(signatures.Sphere, OfRows):
    """The weight times the radius over its norm."""

    permute = staticmethod(torch.permute)

    def rows(self, rows: Any) -> Any:
        norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return self.norm(rows) * rows / norm
