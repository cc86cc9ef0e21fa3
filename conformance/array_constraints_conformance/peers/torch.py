"""PyTorch: ``torch.renorm``, ``torch.nn.functional.normalize`` and ``torch.clamp``."""

from __future__ import annotations

from typing import Any

import torch

from array_constraints_conformance.peers.slices import Axis, project_rows, sliced

__version__ = torch.__version__
CONFORMANCE_SCOPES = ("map",)


class MaxNorm:
    """``torch.renorm``, which takes one dimension: the one that counts the slices."""

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Any:
        return project_rows(w, self.axis, torch.permute, self._renormed)

    def _renormed(self, rows: Any) -> Any:
        return torch.renorm(rows, p=2, dim=0, maxnorm=self.max_value)


class UnitNorm:
    """``torch.nn.functional.normalize``, with its own ``eps``."""

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        return torch.nn.functional.normalize(w, p=2, dim=sliced(self.axis, w.ndim))


class NonNeg:
    """``torch.clamp`` with a minimum of 0."""

    def __call__(self, w: Any) -> Any:
        return torch.clamp(w, min=0)
