"""Libraries of arrays in memory: NumPy, array-api-strict, CuPy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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


class Strict(Library):
    traits = frozenset({"writable", "strict"})

    def numpy(self, x: Any) -> np.ndarray:
        return np.asarray(self.xp.asarray(x, copy=True))

    def shares_memory(self, a: Any, b: Any) -> bool:
        return bool(np.shares_memory(np.from_dlpack(a), np.from_dlpack(b)))

    def unwritable(self, a: np.ndarray) -> dict[str, Any]:
        locked = a.copy()
        locked.flags.writeable = False
        return {"an array of read-only memory": self.xp.asarray(locked, copy=False)}

    @contextlib.contextmanager
    def bare(self) -> Iterator[None]:
        """Switch off what a library may lack: see the flags of array-api-strict."""
        with self.xp.ArrayAPIStrictFlags(
            boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
        ):
            yield


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
