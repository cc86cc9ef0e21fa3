"""NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from array_constraints_conformance.libraries.base import Library
from array_constraints_conformance.numerics.formats import FORMATS


class Numpy(Library):
    traits = frozenset({"strided", "writable", "sixteen-bit", "byte-ordered"})

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(FORMATS)  # bfloat16 is that of ml_dtypes

    def array(self, a: np.ndarray) -> np.ndarray:
        return np.asarray(np.array(a), device=self.device_name)  # the CPU, or ValueError

    def is_own(self, x: Any) -> bool:
        return isinstance(x, np.ndarray | np.generic)

    def read_only(self, a: np.ndarray) -> np.ndarray:
        locked = a.copy()
        locked.flags.writeable = False
        return locked

    def layouts(self, a: np.ndarray) -> dict[str, Any]:
        padded = np.zeros(tuple(2 * n + 1 for n in a.shape), a.dtype)
        window = padded[tuple(slice(1, None, 2) for _ in a.shape)]
        window[...] = a
        backwards = (slice(None, None, -1),) * a.ndim
        return {
            "Fortran order": np.array(a, order="F"),
            "transposed": np.array(a.T, order="C").T,
            "strided": window,
            "reversed": a[backwards].copy()[backwards],
        }

    def byte_orders(self, a: np.ndarray) -> list[Any]:
        """Return copies in another byte order: none of bfloat16, which has just one."""
        return [] if a.dtype.kind == "V" else [a.astype(a.dtype.newbyteorder())]

    def unwritable(self, a: np.ndarray) -> dict[str, Any]:
        row = a.ravel()[:1].copy()
        expanded = np.lib.stride_tricks.as_strided(row, a.shape, (0,) * a.ndim, writeable=True)
        return {"a read-only array": self.read_only(a), "an expanded array": expanded}
