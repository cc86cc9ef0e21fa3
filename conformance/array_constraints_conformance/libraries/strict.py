"""Arrays of array-api-strict, which has the functions of the standard and no others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from array_constraints_conformance.libraries.base import Library


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
