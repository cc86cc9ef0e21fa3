"""Dask arrays of NumPy chunks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from array_constraints_conformance.libraries.base import Library
from array_constraints_conformance.numerics.formats import FORMATS


class ComputedEarly(Exception):
    """The graph was computed while it was built."""


class Dask(Library):
    traits = frozenset({"lazy", "chunked", "sixteen-bit"})
    slow = True

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(FORMATS)

    def array(self, a: np.ndarray) -> Any:
        """Return an array in which every slice crosses a chunk border."""
        return self.chunked(a, tuple(max(1, -(-n // 2)) for n in a.shape))

    def chunked(self, a: np.ndarray, chunks: Any) -> Any:
        if self.device_name is not None:
            raise ValueError("the chunks of a Dask array have no device to choose")
        return self.xp.from_array(a.copy(), chunks=chunks)

    def numpy(self, x: Any) -> np.ndarray:
        return np.asarray(x.compute(scheduler="synchronous"))

    def shares_memory(self, a: Any, b: Any) -> bool:
        return a is b

    @contextlib.contextmanager
    def nothing_computed(self) -> Iterator[None]:
        import dask

        def refuse(*_args: Any, **_options: Any) -> Any:
            raise ComputedEarly("computed while the graph was built")

        with dask.config.set(scheduler=refuse):
            yield
