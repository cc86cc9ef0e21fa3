"""nGPT: each row is divided by its norm, as in the published training code, on PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from array_constraints_conformance.peers import signatures
from array_constraints_conformance.peers.slices import OfRows

__version__ = torch.__version__
CONFORMANCE_SCOPES = ("map",)


class UnitNorm(signatures.UnitNorm, OfRows):
    """The weight over its norm, computed in float32 where entries have 16 bits."""

    permute = staticmethod(torch.permute)

    def rows(self, rows: Any) -> Any:
        wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
        return (wide / wide.norm(p=2, dim=1, keepdim=True)).to(rows.dtype)
