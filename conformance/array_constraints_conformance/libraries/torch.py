"""PyTorch tensors, on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from array_constraints_conformance.libraries.base import Library, Map
from array_constraints_conformance.numerics.formats import FORMATS


class Torch(Library):
    traits = frozenset({"strided", "writable", "differentiating", "tracing", "sixteen-bit"})

    @property
    def dtypes(self) -> tuple[str, ...]:
        metal = str(self.device_name).startswith("mps")  # has no float64
        return tuple(name for name in FORMATS if not (metal and name == "float64"))

    def array(self, a: np.ndarray) -> Any:
        tensor = self.xp.from_numpy(
            a.view(np.int16).copy() if a.dtype == ml_dtypes.bfloat16 else np.array(a)
        )
        if a.dtype == ml_dtypes.bfloat16:
            tensor = tensor.view(self.xp.bfloat16)
        return tensor if self.device_name is None else tensor.to(self.device_name)

    def numpy(self, x: Any) -> np.ndarray:
        x = x.detach().cpu()
        if x.dtype == self.xp.bfloat16:
            return np.asarray(x.contiguous().view(self.xp.int16)).view(ml_dtypes.bfloat16)
        return np.asarray(x)

    def is_own(self, x: Any) -> bool:
        return isinstance(x, self.xp.Tensor)

    def model(self, x: Any) -> str:
        return str(self.xp.cuda.get_device_name(x.device)) if x.is_cuda else ""

    def shares_memory(self, a: Any, b: Any) -> bool:
        first, second = a.untyped_storage(), b.untyped_storage()
        return bool(first.nbytes() and first.data_ptr() == second.data_ptr())

    def read_only(self, a: np.ndarray) -> Any:
        return self.array(a[:1]).expand(a.shape)

    def layouts(self, a: np.ndarray) -> dict[str, Any]:
        padded = self.array(np.zeros(tuple(2 * n + 1 for n in a.shape), a.dtype))
        window = padded[tuple(slice(1, None, 2) for _ in a.shape)]
        window.copy_(self.array(a))
        order = tuple(reversed(range(a.ndim)))
        return {
            "transposed": self.array(np.array(a.T, order="C")).permute(order),
            "strided": window,
        }

    def unwritable(self, a: np.ndarray) -> dict[str, Any]:
        leaf = self.array(a).requires_grad_()
        expanded = self.array(a.reshape(-1)[:1]).reshape((1,) * a.ndim).expand(a.shape)
        with self.xp.inference_mode():
            inferred = self.array(a)
        return {
            "a leaf that requires grad": leaf,
            "an expanded tensor": expanded,
            "an inference tensor": inferred,
        }

    def jacobian(self, f: Map, w: np.ndarray) -> np.ndarray:
        return self.numpy(self.xp.autograd.functional.jacobian(f, self.array(w)))

    def traced(self, f: Map, x: Any) -> Any:
        self.xp.compiler.reset()
        compiled: Callable[[Any], Any] = self.xp.compile(
            lambda w: f(w), fullgraph=True, backend="aot_eager"
        )
        return compiled(x)

    def mapped(self, f: Map, x: Any) -> Any:
        return self.xp.func.vmap(f)(x)
