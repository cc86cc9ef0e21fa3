"""How PyTorch finds thresholds: its sort takes fifty times as long as a sum."""

from __future__ import annotations

from typing import Any

import torch

from array_constraints.libraries.thresholds.at_hand import AtHandThresholds
from array_constraints.libraries.torch_sharded import with_whole_slices
from array_constraints.numerics.masses import Mass, Target
from array_constraints.numerics.thresholds import Threshold


class TorchThresholds(AtHandThresholds):
    """PyTorch steps in float32 first."""

    def mass(self, w: Any, axes: tuple[int, ...], ball: bool) -> Mass:
        return super().mass(with_whole_slices(w, axes), axes, ball)

    def projected(self, w: Any, axes: tuple[int, ...], target: Target) -> Any:
        return super().projected(with_whole_slices(w, axes), axes, target)

    def found(self, mask: Any) -> Any:
        return mask.view(-1).nonzero().view(-1)

    def binned(self, places: Any, weights: Any, bins: int) -> Any:
        return torch.bincount(places, weights, bins)

    def zeros_like(self, w: Any) -> Any:
        return torch.zeros_like(w)

    def cumulative(self, rows: Any) -> Any:
        """Ask PyTorch itself: torch.compile does not see through array_api_compat here."""
        return torch.cumsum(rows, dim=-1)

    def as_it_is(self, w: Any) -> Any:
        """Return a view: autograd takes no input for an output of a function."""
        return w.view_as(w)

    def signed(self, part: Any, v: Any) -> Any:
        return torch.copysign(part, v) + 0  # -0 + 0 is 0

    def above(self, z: Any, t: Threshold, out: Any) -> Any:
        out = torch.sub(z, t.high, out=out)
        if bool(t.low.any()):
            out -= t.low
        return out.clamp_(min=0)

    def counts(self, part: Any) -> Any:
        return part.sign().sum(1, keepdim=True)

    def start(self, v: Any, largest: Any, total: float) -> Any:
        """Step, from the left, while counts fall: a row whose count stays is done."""
        t = torch.full((v.shape[0], 1), -total, dtype=v.dtype, device=v.device)
        before = torch.full_like(t, v.shape[1] + 1)
        part: Any = None
        for _ in range(16):
            part = torch.sub(v, t, out=part)
            count = part.clamp_(min=0).sign().sum(1, keepdim=True)
            falls = count < before
            if not bool(falls.any()):
                break
            step = (part.sum(1, keepdim=True) - total) / count.clamp(min=1)
            t, before = torch.where(falls, t + step, t), torch.where(falls, count, 0)
        return t
