"""JAX arrays, eager or under jit, with and without 64-bit numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from array_constraints_conformance.libraries.base import Library, Map, counts_as_zero
from array_constraints_conformance.numerics.formats import FORMATS


class Jax(Library):
    modes = frozenset({"x64", "jit"})
    slow = True
    traits = frozenset({"differentiating", "tracing", "sixteen-bit"})

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        import jax

        with jax.enable_x64("x64" in self.chosen):
            yield

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(name for name in FORMATS if name != "float64" or "x64" in self.chosen)

    def array(self, a: np.ndarray) -> Any:
        """Return a new array that is bound to its device, as the results of calls are.

        So a call on a result is that of the weight, and JAX does not compile it once more.
        """
        import jax

        platform, _, number = (self.device_name or "").partition(":")
        return jax.device_put(np.array(a), jax.devices(platform or None)[int(number or 0)])

    def is_own(self, x: Any) -> bool:
        import jax

        return isinstance(x, jax.Array)

    def model(self, x: Any) -> str:
        (device,) = x.devices()
        return "" if device.platform == "cpu" else str(device.device_kind)

    def wrap(self, f: Map) -> Map:
        import jax

        return jax.jit(f) if "jit" in self.chosen else f

    def flushes(self, dtype: str) -> bool:
        return counts_as_zero(self, dtype)

    def jacobian(self, f: Map, w: np.ndarray) -> np.ndarray:
        import jax

        if id(f) not in self._jacobians:
            self._jacobians[id(f)] = (f, jax.jit(jax.jacrev(f)))
        return np.asarray(self._jacobians[id(f)][1](self.array(w)))

    @cached_property
    def _jacobians(self) -> dict[int, tuple[Map, Map]]:
        return {}

    def traced(self, f: Map, x: Any) -> Any:
        import jax

        return jax.jit(lambda w: f(w))(x)

    def mapped(self, f: Map, x: Any) -> Any:
        import jax

        return jax.vmap(f)(x)
