"""NumPy's ``.npy``: one array in a file."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from array_constraints.files.stored import Bytes, DamagedFile, FileSource, Source


def open_npy(path: Path) -> Source:
    """Open a ``.npy`` file; its array is named after the file."""
    with path.open("rb") as file:
        tensor = read_header(file, path, path.stem)
    end, size = tensor.offset + tensor.nbytes, path.stat().st_size
    if end != size:
        raise DamagedFile(path, f"has {size} bytes, its header speaks of {end}")
    return FileSource(path, {tensor.name: tensor})


def read_header(file: Any, path: Path, name: str) -> Bytes:
    """Return the array at the position of a file; its entries are not read."""
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = npy.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = npy.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {version} of the NPY format is unknown")
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise DamagedFile(path, f"{name} is not an array of NumPy: {error}") from None
    if not all(0 <= n < 2**62 for n in shape) or len(shape) > 64:
        raise DamagedFile(path, f"{name} has no valid shape in its header")
    native_is_big = sys.byteorder == "big"
    # NumPy writes ml_dtypes.bfloat16 as two bytes without a meaning.
    kind = "bfloat16" if dtype.str in ("|V2", "<V2") else dtype.name
    return Bytes(
        name,
        tuple(map(int, shape)),
        "structured" if dtype.names else kind,
        path,
        file.tell(),
        big_endian=dtype.byteorder == ">" or (dtype.byteorder == "=" and native_is_big),
        fortran=fortran and len(shape) > 1,
        stored_bytes=math.prod(shape) * dtype.itemsize,
    )
