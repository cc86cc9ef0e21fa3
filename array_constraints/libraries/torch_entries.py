"""What PyTorch does to entries: signs by their bits, clamps, masks."""

from __future__ import annotations

import math
from typing import Any

import torch

from array_constraints.libraries import torch_sharded
from array_constraints.libraries.block_sums import AtHand
from array_constraints.numerics import subnormals
from array_constraints.numerics.bit_masks import unpacked

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class TorchEntries(AtHand):
    """The part of PyTorch's library that elementwise constraints are made of."""

    def bits(self, w: Any) -> Any:
        return w.detach().resolve_neg().view(_BITS[w.dtype.itemsize])

    def negative(self, w: Any) -> Any:
        """Tell them by their bits where subnormal numbers look like zeros."""
        if subnormals.flushed() and w.dtype.is_floating_point:
            return subnormals.negative(self.bits(w), self.precision(w).weight.digits)
        return w < 0

    def without_negative(self, w: Any) -> Any:
        """Clamp, or take the bits: torch.where takes up to 37 times as long."""
        if self._clamps(w):
            return w.clamp(min=0)
        if not self.at_hand(w):  # the bits are no part of a graph
            return super().without_negative(w)
        return (self.bits(w) * ~self.negative(w)).view(w.dtype)

    def zeroed(self, w: Any, mask: Any) -> Any:
        return w.masked_fill(mask, 0)

    def clipped(self, w: Any, low: Any, high: Any) -> Any:
        """Clamp, where that keeps the sign of zeros: torch.where takes many times as long."""
        numbers = isinstance(low, int | float) and isinstance(high, int | float)
        if numbers and low != 0 != high and self._clamps(w):
            return w.clamp(low, high)
        return super().clipped(w, low, high)

    def booleans(self, text: str, shape: tuple[int, ...], like: Any) -> Any:
        made = _mask(text)[: math.prod(shape)].reshape(shape).to(like.device)
        return torch_sharded.beside(made, like)

    def arange(self, n: int, like: Any) -> Any:
        return torch_sharded.beside(super().arange(n, like), like)

    def number_of(self, mask: Any, axes: tuple[int, ...]) -> Any:
        return mask.sum(axes, True) if axes else mask.to(torch.int64)

    def binned(self, places: Any, bins: int) -> Any:
        return torch.bincount(places, minlength=bins)

    def kth_largest(self, magnitudes: Any, most: int) -> Any:
        last = magnitudes.shape[1] - most + 1
        return torch.kthvalue(magnitudes, last, dim=1, keepdim=True).values

    def running_number(self, mask: Any) -> Any:
        """Ask PyTorch itself: torch.compile does not see through array_api_compat here."""
        return torch.cumsum(mask, dim=1)

    def some(self, mask: Any) -> bool:
        """Take the largest byte: torch.any takes up to 50 times as long."""
        if mask.dtype is not torch.bool:
            return super().some(mask)
        return bool(mask.view(torch.uint8).max())

    def negative_at_hand(self, w: Any) -> Any:
        """Ask for the smallest entry where no mask is needed: that is a tenth of the time."""
        if self._clamps(w):
            smallest = self.smallest(w)
            if smallest >= 0:
                return None
            if smallest < 0:
                return True
        return super().negative_at_hand(w)  # NaN: which of the others are

    def zero_negative(self, w: Any, negative: Any) -> None:
        if self._clamps(w):
            w.clamp_(min=0)
        elif w.is_neg():  # its sign is kept beside its bits
            w.masked_fill_(negative, 0)
        else:
            super().zero_negative(w, negative)

    @staticmethod
    def _clamps(w: Any) -> bool:
        """Whether torch.clamp keeps all other bits.

        It changes the NaN of half types, and the negative zeros of GPUs.
        """
        if not w.dtype.is_floating_point:
            return True
        on_cpu = w.device.type == "cpu"
        return on_cpu and w.dtype.itemsize != 2 and not subnormals.flushed()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _mask(text: str) -> Any:
    """Return truth values from base64 of their bits: once, while a program is traced."""
    raw = bytearray(unpacked(text, 8 * len(text)))
    return torch.frombuffer(raw, dtype=torch.bool) if raw else torch.zeros(0, dtype=torch.bool)
