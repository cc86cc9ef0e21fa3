"""Masks in files, for the command line."""

from __future__ import annotations

from typing import Any


def mask_of_file(path: str) -> Any:
    """Return the truth values in a ``.npy`` file.

    Raises
    ------
    ValueError
        If it is no such file, or holds other values.
    """
    import numpy

    try:
        found = numpy.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: is no .npy file of truth values: {error}") from None
    if str(getattr(found, "dtype", None)) != "bool":
        kind = getattr(found, "dtype", type(found).__name__)
        raise ValueError(f"{path}: holds {kind}, not truth values")
    return found
