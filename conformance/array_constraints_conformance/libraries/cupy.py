"""CuPy arrays, on one GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from array_constraints_conformance.libraries.base import Library, counts_as_zero


class Cupy(Library):
    traits = frozenset({"writable", "strided", "sixteen-bit"})

    @property
    def dtypes(self) -> tuple[str, ...]:
        return ("float16", "float32", "float64")

    def array(self, a: np.ndarray) -> Any:
        with self.xp.cuda.Device(int(self.device_name or 0)):
            return self.xp.asarray(a.copy())

    def numpy(self, x: Any) -> np.ndarray:
        return self.xp.asnumpy(x)

    def flushes(self, dtype: str) -> bool:
        return counts_as_zero(self, dtype)

    def model(self, x: Any) -> str:
        name = self.xp.cuda.runtime.getDeviceProperties(x.device.id)["name"]
        return name.decode() if isinstance(name, bytes) else str(name)

    def shares_memory(self, a: Any, b: Any) -> bool:
        return bool(self.xp.shares_memory(a, b))

    def layouts(self, a: np.ndarray) -> dict[str, Any]:
        return {
            "Fortran order": self.xp.asfortranarray(self.array(a)),
            "transposed": self.array(np.ascontiguousarray(a.T)).T,
        }

    def unwritable(self, a: np.ndarray) -> dict[str, Any]:
        return {"an expanded array": self.xp.broadcast_to(self.array(a[:1]), a.shape)}

    def read_only(self, a: np.ndarray) -> Any:
        return self.xp.broadcast_to(self.array(a[:1]), a.shape)
