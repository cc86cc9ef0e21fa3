"""The array libraries that the tests run on, and how their arrays are made and read."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest

DTYPES = {
    "float16": np.dtype("float16"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype("float32"),
    "float64": np.dtype("float64"),
}
ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


@dataclass(frozen=True)
class Library:
    """One array library; ``array`` and ``numpy`` convert without changing a bit."""

    name: str
    module: str
    dtypes: tuple[str, ...]
    array: Callable[[np.ndarray], Any]
    numpy: Callable[[Any], np.ndarray]
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    def __str__(self) -> str:
        return self.name

    @contextlib.contextmanager
    def active(self) -> Iterator[Library]:
        pytest.importorskip(self.module)
        with self.context():
            yield self


def _torch_array(a: np.ndarray) -> Any:
    import torch

    if a.dtype == DTYPES["bfloat16"]:
        return torch.from_numpy(a.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(a.copy())


def _torch_numpy(t: Any) -> np.ndarray:
    import torch

    t = t.detach()
    if t.dtype == torch.bfloat16:
        return t.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return t.numpy()


def _jax_array(a: np.ndarray) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(a)


def _jax_x64(enabled: bool) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    def context() -> contextlib.AbstractContextManager[Any]:
        import jax

        return jax.enable_x64(enabled)

    return context


def _dask_array(a: np.ndarray) -> Any:
    import dask.array

    chunks = tuple(max(1, -(-n // 2)) for n in a.shape)  # every slice crosses a chunk border
    return dask.array.from_array(a.copy(), chunks=chunks)


def _strict_array(a: np.ndarray) -> Any:
    import array_api_strict

    return array_api_strict.asarray(a.copy())


ALL = tuple(DTYPES)
NUMPY = Library("numpy", "numpy", ALL, np.array, np.asarray)
TORCH = Library("torch", "torch", ALL, _torch_array, _torch_numpy)
JAX = Library("jax", "jax", ALL[:3], _jax_array, np.asarray, _jax_x64(False))
JAX_X64 = Library("jax-x64", "jax", ALL, _jax_array, np.asarray, _jax_x64(True))
DASK = Library(
    "dask",
    "dask.array",
    ALL,
    _dask_array,
    lambda x: np.asarray(x.compute(scheduler="synchronous")),
)
STRICT = Library(
    "array-api-strict",
    "array_api_strict",
    ("float32", "float64"),
    _strict_array,
    lambda x: np.array(x._array),
)
LIBRARIES = (NUMPY, TORCH, JAX, JAX_X64, DASK, STRICT)
LIBRARIES_AND_DTYPES = [(lib, dtype) for lib in LIBRARIES for dtype in lib.dtypes]


def installed(library: Library) -> bool:
    return importlib.util.find_spec(library.module.partition(".")[0]) is not None


def bits(a: np.ndarray) -> bytes:
    """The bit pattern: unlike ==, it tells -0.0 from 0.0 and compares NaN."""
    return np.ascontiguousarray(a).tobytes()


def counts_as_zero(library: Library, row: np.ndarray) -> bool:
    """XLA on CPUs takes subnormal numbers for zeros."""
    tiny = float(np.finfo(np.float32).tiny)
    if row.dtype == np.float64:
        tiny = float(np.finfo(np.float64).tiny)
    if library.module == "jax" and row.dtype != np.float16:
        return float(np.max(np.abs(row.astype(np.float64)))) < tiny
    return not row.any()
