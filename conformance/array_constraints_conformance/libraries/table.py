"""Libraries by name: ``MODULE`` or ``MODULE+MODE``, as ``jax.numpy+x64+jit``."""

from __future__ import annotations

import importlib.util

import numpy as np

from array_constraints_conformance.libraries.base import Library, UnknownLibrary
from array_constraints_conformance.libraries.cupy import Cupy
from array_constraints_conformance.libraries.dask import Dask
from array_constraints_conformance.libraries.jax import Jax
from array_constraints_conformance.libraries.numpy import Numpy
from array_constraints_conformance.libraries.strict import Strict
from array_constraints_conformance.libraries.torch import Torch

KNOWN: dict[str, type[Library]] = {
    "numpy": Numpy,
    "torch": Torch,
    "jax.numpy": Jax,
    "dask.array": Dask,
    "array_api_strict": Strict,
    "cupy": Cupy,
}
_SHORT = {"jax": "jax.numpy", "dask": "dask.array", "array-api-strict": "array_api_strict"}
_MATRIX = (
    "numpy",
    "torch",
    "jax.numpy",
    "jax.numpy+jit",
    "jax.numpy+x64",
    "jax.numpy+x64+jit",
    "dask.array",
    "array_api_strict",
    "cupy",
)


def library(name: str, device: str | None = None) -> Library:
    """Return the library of a name; any other module that follows the standard will do.

    Raises
    ------
    UnknownLibrary
        If there is no such module, mode or device.
    """
    module, *modes = name.split("+")
    module = _SHORT.get(module, module)
    cls: type[Library] = KNOWN.get(module, Library)
    if not set(modes) <= cls.modes:
        known = ", ".join(sorted(cls.modes)) or "none"
        raise UnknownLibrary(f"{name!r}: the modes of {module} are: {known}")
    try:
        made = cls("+".join([module, *modes]), module, frozenset(modes), device)
        with made.active():
            made.array(np.ones(1, dtype=np.float32))
    except Exception as error:  # whatever importing a library may raise
        where = "" if device is None else f" on device {device!r}"
        raise UnknownLibrary(f"{name!r} cannot be used{where}: {error}") from error
    return made


def installed() -> list[str]:
    """Return the names of the known libraries and modes that can be imported here."""
    return [
        name
        for name in _MATRIX
        if importlib.util.find_spec(name.split("+")[0].split(".")[0]) is not None
    ]
