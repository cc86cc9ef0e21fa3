"""Which file knows how a library finds thresholds."""

from __future__ import annotations

from array_constraints.libraries.base import Library
from array_constraints.libraries.thresholds import Thresholds

_BY_LIBRARY: dict[Library, Thresholds] = {}


def thresholds_of(library: Library) -> Thresholds:
    """Return how a library finds thresholds."""
    found = _BY_LIBRARY.get(library)
    if found is None:
        found = _BY_LIBRARY[library] = _made(library)
    return found


def _made(library: Library) -> Thresholds:
    name = type(library).__name__
    if name == "Jax":
        from array_constraints.libraries.jax_thresholds import JaxThresholds

        return JaxThresholds(library)
    if name == "Dask":
        from array_constraints.libraries.dask_thresholds import DaskThresholds

        return DaskThresholds(library, thresholds_of)
    if name == "Numpy":
        from array_constraints.libraries.numpy_thresholds import NumpyThresholds

        return NumpyThresholds(library)
    if name == "Torch":
        from array_constraints.libraries.torch_thresholds import TorchThresholds

        return TorchThresholds(library)
    return Thresholds(library)
