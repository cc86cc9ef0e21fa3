"""CuPy: subnormal numbers of float32 are zeros to its kernels, expanded arrays writable."""

from __future__ import annotations

from typing import Any

from array_constraints.libraries.base import Library
from array_constraints.libraries.strided import overlapping
from array_constraints.numerics import subnormals
from array_constraints.numerics.formats import FORMATS


class Cupy(Library):
    """CuPy's arrays, on a GPU."""

    def bits(self, w: Any) -> Any:
        return w.view(f"int{8 * w.dtype.itemsize}")

    def negative(self, w: Any) -> Any:
        if self.name_of(w.dtype) not in FORMATS:
            return w < 0
        return subnormals.negative(self.bits(w), self.precision(w).weight.digits)

    def unwritable(self, w: Any) -> str | None:
        return overlapping(w.shape, w.strides, w.dtype.itemsize)
