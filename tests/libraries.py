"""The array libraries that the tests run on: those of the suite, imported when first used."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from array_constraints_conformance import libraries as suite
from array_constraints_conformance.numerics.formats import FORMATS

DTYPES = {name: fmt.dtype for name, fmt in FORMATS.items()}
ROUNDOFF = {name: float(fmt.u) for name, fmt in FORMATS.items()}
ALL = tuple(DTYPES)


@dataclass(frozen=True)
class Library:
    """A library, by its name in the tests and in the suite; no conversion changes a bit."""

    name: str
    suite_name: str
    dtypes: tuple[str, ...] = ALL

    def __str__(self) -> str:
        return self.name

    @property
    def module(self) -> str:
        return self.suite_name.partition("+")[0]

    @cached_property
    def _library(self) -> suite.Library:
        return suite.library(self.suite_name)

    def array(self, a: np.ndarray) -> Any:
        return self._library.array(a)

    def numpy(self, x: Any) -> np.ndarray:
        return self._library.numpy(x)

    def values(self, *arrays: Any) -> list[np.ndarray]:
        """Return arrays as NumPy's: those of Dask are computed together, what is equal once."""
        if self.module == "dask.array":
            import dask

            found = dask.compute(*arrays, scheduler="synchronous")
            return [np.asarray(x) for x in found]
        return [self.numpy(x) for x in arrays]

    @contextlib.contextmanager
    def active(self) -> Iterator[Library]:
        pytest.importorskip(self.module)
        with self._library.active():
            yield self

    def flushes(self, dtype: str) -> bool:
        """Whether it counts subnormal numbers of this dtype as zeros."""
        return self._library.flushes(dtype)


NUMPY = Library("numpy", "numpy")
TORCH = Library("torch", "torch")
JAX = Library("jax", "jax.numpy", ALL[:3])
JAX_X64 = Library("jax-x64", "jax.numpy+x64")
DASK = Library("dask", "dask.array")
STRICT = Library("array-api-strict", "array_api_strict", ("float32", "float64"))
LIBRARIES = (NUMPY, TORCH, JAX, JAX_X64, DASK, STRICT)
HALF = ("float16", "bfloat16")
LIBRARIES_AND_DTYPES = [
    (lib, dtype)
    for lib in LIBRARIES
    for dtype in lib.dtypes
    if lib is not JAX_X64 or dtype not in HALF  # as without x64: compiling is most of the time
]


def installed(library: Library) -> bool:
    return importlib.util.find_spec(library.module.partition(".")[0]) is not None


def normal(shape: Any, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Normally distributed entries, the same each time, rounded to a dtype."""
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[dtype])


def bits(a: np.ndarray) -> bytes:
    """The bit pattern: unlike ==, it tells -0.0 from 0.0 and compares NaN."""
    return np.ascontiguousarray(a).tobytes()


def counts_as_zero(library: Library, row: np.ndarray) -> bool:
    """Whether a row is zero, or subnormal where the library takes such numbers for zeros."""
    if library.flushes(row.dtype.name):
        peak = np.max(np.abs(row.astype(np.float64)))
        return bool(peak < FORMATS[row.dtype.name].smallest)
    return not row.any()
