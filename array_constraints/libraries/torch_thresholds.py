"""How PyTorch finds thresholds: its sort takes fifty times as long as a sum."""

from __future__ import annotations

from typing import Any

import torch

from array_constraints.libraries.thresholds_at_hand import AtHandThresholds


class TorchThresholds(AtHandThresholds):
    """PyTorch steps in float32 first."""

    def found(self, mask: Any) -> Any:
        return mask.view(-1).nonzero().view(-1)

    def binned(self, places: Any, weights: Any, bins: int) -> Any:
        return torch.bincount(places, weights, bins)

    def zeros_like(self, w: Any) -> Any:
        return torch.zeros_like(w)

    def start(self, v: Any, largest: Any, total: float) -> Any:
        """Step until no count changes: from the left, these fall."""
        t = torch.full((v.shape[0], 1), -total, dtype=v.dtype, device=v.device)
        before: Any = None
        for _ in range(16):
            difference = v - t
            count = (difference > 0).sum(1, keepdim=True)
            if before is not None and bool((count >= before).all()):
                break
            before = count
            t = t + (difference.clamp_(min=0).sum(1, keepdim=True) - total) / count
        return t
