"""Isotonic regression as one operation of the programs that PyTorch compiles.

Traced step by step it would be hundreds of operations, and take minutes to compile.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from array_constraints.libraries.table import of_namespace


@torch.library.custom_op("array_constraints::nondecreasing", mutates_args=())
def nondecreasing(x: Tensor) -> Tensor:
    """Return the nearest rows, of finite numbers along the last dimension, that never fall."""
    library: Any = of_namespace(torch)
    found: Tensor = library.nondecreasing(x)
    return found.clone()  # it may be a view of what was given, which no operation returns


@nondecreasing.register_fake
def _made(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@nondecreasing.register_vmap
def _mapped(info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, int]:
    return nondecreasing(x.movedim(in_dims[0] or 0, 0)), 0
