"""Which file knows the library of an array."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from array_constraints.libraries.base import Library
from array_constraints.typing import Namespace

CONTENTS: dict[type, Callable[[Any], Any]] = {}
"""How to take the array out of a variable of a framework: filled by its integration."""

_BY_TYPE: dict[type, Library] = {}  # asking takes a microsecond
_BY_NAME: dict[str, Library] = {}


def of(w: Any) -> Library:
    """Return the library of an array, or raise TypeError for anything else."""
    found = _BY_TYPE.get(type(w))
    if found is None:
        found = _BY_TYPE[type(w)] = _found(w)
    return found


def of_namespace(xp: Namespace) -> Library:
    """Return the library of an array API namespace, or of what it wraps."""
    name = xp.__name__.removeprefix("array_api_compat.")
    found = _BY_NAME.get(name)
    if found is None:
        found = _BY_NAME[name] = _named(name, xp)
    return found


def _found(w: Any) -> Library:
    """Return the library of an array.

    ``array_api_compat.array_namespace`` is not asked for torch: where ``torch.compile`` traces
    the cache of that function, it warns; and not for JAX: it makes an array there.
    """
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and isinstance(w, torch.Tensor):
        return of_namespace(torch)
    if jax is not None and isinstance(w, jax.Array):
        return of_namespace(jax.numpy)
    return of_namespace(array_namespace(w))


def _named(name: str, xp: Namespace) -> Library:
    """Return the library of a name; each has an import of its own, for torch.compile."""
    if name == "numpy":
        from array_constraints.libraries.numpy import NUMPY

        return NUMPY
    if name == "torch":
        from array_constraints.libraries.torch import TORCH

        return TORCH
    if name == "jax.numpy":
        from array_constraints.libraries.jax import JAX

        return JAX
    if name == "dask.array":
        from array_constraints.libraries.dask import DASK

        return DASK
    if name == "array_api_strict":
        from array_constraints.libraries.strict import Strict

        return Strict(xp)
    if name == "cupy":
        from array_constraints.libraries.cupy import Cupy

        return Cupy(xp)
    if name == "sparse":
        from array_constraints.libraries.sparse import Sparse

        return Sparse(xp)
    return Library(xp)


def traced(number: Any) -> bool:
    """Whether a number is an array of no dimensions, or of one, that has no value yet."""
    if not hasattr(number, "dtype"):
        return False
    try:
        library = of(number)
    except TypeError:  # a number of no library
        return False
    return library.traced(number)


def compiling() -> bool:
    """Whether ``torch.compile`` traces this: it does not see through tables and caches."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def mapped_at_once(constraint: Any, weights: Any) -> Any | None:
    """Return a tree of arrays constrained in few compiled calls; None where none are."""
    if "jax" not in sys.modules or compiling():
        return None
    from array_constraints.libraries.jax import JAX

    return JAX.mapped_at_once(constraint, weights)


def ties(arrays: list[Any]) -> list[int]:
    """Return for each array the place of the first that is the same entries of one memory.

    They have to be of one library, of the same shape, and in the same order.
    """
    if compiling():
        return list(range(len(arrays)))
    seen: dict[int, int] = {}
    first = [seen.setdefault(id(w), i) for i, w in enumerate(arrays)]
    groups: dict[Library, list[int]] = {}
    for i in seen.values():
        with contextlib.suppress(TypeError):  # the constraint says what is wrong with it
            groups.setdefault(of(arrays[i]), []).append(i)
    for library, places in groups.items():
        memories = library.memories([arrays[i] for i in places])
        same: dict[Any, int] = {}
        found = {
            i: i if memory is None else same.setdefault(memory, i)
            for i, memory in zip(places, memories, strict=True)
        }
        first = [found.get(i, i) for i in first]
    return first
