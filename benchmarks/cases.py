"""What is constrained: shapes, axes, dtypes, and how many slices violate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16)} | {
    name: np.dtype(name) for name in ("float16", "float32", "float64")
}


@dataclass(frozen=True)
class Case:
    """One weight and the axis of its slices; ``data`` says which slices violate."""

    shape: tuple[int, ...]
    axis: int | tuple[int, ...]
    dtype: str = "float32"
    data: str = "half"
    constraint: str = "MaxNorm"

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        axis = self.axis if isinstance(self.axis, int) else ",".join(map(str, self.axis))
        parts = [f"{shape} axis {axis}"]
        parts += [self.dtype] if self.dtype != "float32" else []
        parts += [self.data] if self.data != "half" else []
        parts += [self.constraint] if self.constraint != "MaxNorm" else []
        return ", ".join(parts)

    @property
    def axes(self) -> tuple[int, ...]:
        return (self.axis,) if isinstance(self.axis, int) else self.axis

    def weight(self) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(0)
        return rng.standard_normal(self.shape, "float32").astype(DTYPES[self.dtype])

    def bound(self, weight: np.ndarray[Any, Any]) -> float:
        """Return the radius that half, none or all of the slices exceed."""
        norms = np.sqrt(np.sum(weight.astype("float64") ** 2, axis=self.axes))
        factors = {"half": 1.0, "feasible": 100.0, "all": 0.01}
        return float(np.median(norms) * factors[self.data])


LARGE = [((4096, 4096), 0), ((4096, 4096), 1), ((30522, 384), 0), ((30522, 384), 1)]
SMALL = [((8, 8), 0), ((8, 8), 1), ((64, 64), 0), ((64, 64), 1), ((784, 256), 0)]
SMALL += [((784, 256), 1)]
CONV: tuple[tuple[int, ...], tuple[int, ...]] = ((3, 3, 256, 512), (0, 1, 2))

NORMS = [Case(*both) for both in (*SMALL, CONV, *LARGE)]
DATA = [
    Case(*both, data=data)
    for data in ("feasible", "all")
    for both in (*SMALL[:2], CONV, *LARGE)
]
FORMATS = [
    Case((4096, 4096), axis, dtype)
    for dtype in ("float16", "bfloat16", "float64")
    for axis in (0, 1)
]
OTHERS = [
    Case((4096, 4096), 0, constraint=name) for name in ("UnitNorm", "MinMaxNorm", "NonNeg")
]
CASES = [*NORMS, *DATA, *FORMATS, *OTHERS]
MANY = 500  # tensors of 64x64
LENGTHS = (
    [Case((2**12, 2**12), axis) for axis in (0, 1)],
    [Case((2**13, 2**14), axis) for axis in (0, 1)],
)
SLICES = Case((2**14, 2**10), 1), Case((2**4, 2**20), 1)
