"""PyTorch: ``renorm``, ``normalize``, ``clamp``, ``topk``, ``tril``, ``triu`` and pruning."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils import prune

from array_constraints_conformance.peers import signatures
from array_constraints_conformance.peers.slices import OfRows, sliced

__version__ = torch.__version__
CONFORMANCE_SCOPES = ("map",)


class OnTorch(OfRows):
    """A constraint of a function of PyTorch that takes rows."""

    permute = staticmethod(torch.permute)


class MaxNorm(OnTorch, signatures.MaxNorm):
    """``torch.renorm``, which takes one dimension: the one that counts the slices."""

    def rows(self, rows: Any) -> Any:
        return torch.renorm(rows, p=2, dim=0, maxnorm=self.max_value)


class UnitNorm:
    """``torch.nn.functional.normalize``, with its own ``eps``."""

    def __init__(self, axis: Any = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        return torch.nn.functional.normalize(w, p=2, dim=sliced(self.axis, w.ndim))


class NonNeg:
    """``torch.clamp`` with a minimum of 0."""

    def __call__(self, w: Any) -> Any:
        return torch.clamp(w, min=0)


class Box(signatures.Box):
    """``torch.clamp``."""

    def __call__(self, w: Any) -> Any:
        return torch.clamp(w, self.min_value, self.max_value)


def largest_of(rows: Any, k: int) -> Any:
    """Return rows times a mask of their largest magnitudes, by ``torch.topk``."""
    largest = torch.topk(rows.abs(), k, dim=1).indices
    return rows * torch.zeros_like(rows).scatter(1, largest, 1)


class NMSparse(OnTorch, signatures.NMSparse):
    """A mask by ``torch.topk``."""

    def groups(self, groups: Any) -> Any:
        return largest_of(groups, self.n)


class Sparse(OnTorch, signatures.Sparse):
    """A mask by ``torch.topk``, of no more entries than there are."""

    def rows(self, rows: Any) -> Any:
        return largest_of(rows, min(self.most(rows.shape[1]), rows.shape[1]))


class Mask(signatures.Mask):
    """``torch.nn.utils.prune.CustomFromMask``."""

    def __call__(self, w: Any) -> Any:
        mask = torch.asarray(self.mask, dtype=w.dtype).broadcast_to(w.shape)
        return prune.CustomFromMask(mask).prune(w)


class Triangular(signatures.Triangular):
    """``torch.tril`` and ``torch.triu``, which take the last two dimensions."""

    def __call__(self, w: Any) -> Any:
        part = torch.tril if self.part == "lower" else torch.triu
        matrices = torch.moveaxis(w, self.axis, (-2, -1))
        return torch.moveaxis(part(matrices, self.offset), (-2, -1), self.axis)
