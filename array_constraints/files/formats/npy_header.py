"""The header of NumPy's ``.npy``, which ``.npz`` has in each of its members, too."""

from __future__ import annotations

import io
import math
import sys
import tokenize
import warnings
from pathlib import Path
from typing import Any

from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.raw import RawTensor, c_strides

_LARGEST_HEADER = 10_000  # bytes, as NumPy has it: Python's parser is not safe with any text
_ERRORS = (
    ValueError, TypeError, LookupError, AttributeError, OverflowError, SyntaxError, MemoryError,
    RecursionError, tokenize.TokenError,
)  # fmt: skip
"""The errors that NumPy and Python's parser raise on headers that make no sense."""


def read_header(file: Any, path: Path, name: str, size: int) -> RawTensor:
    """Return the array that a file of ``size`` bytes holds; its entries are not read."""
    try:
        shape, fortran, dtype = _parsed(file)
    except _ERRORS as error:
        raise DamagedFileError(path, f"{name} is not an array of NumPy: {error}") from None
    if not all(type(n) is int and 0 <= n < 2**62 for n in shape) or len(shape) > 64:
        raise DamagedFileError(path, f"{name} has no valid shape in its header")
    stored = size - file.tell()
    if not dtype.hasobject and stored != math.prod(shape) * dtype.itemsize:
        raise DamagedFileError(path, f"{name} has {stored} bytes, which do not fit its header")
    native_is_big = sys.byteorder == "big"
    # NumPy writes ml_dtypes.bfloat16 as two bytes without a meaning.
    kind = "bfloat16" if dtype.str in ("|V2", "<V2") else dtype.name
    return RawTensor(
        name,
        shape,
        "structured" if dtype.names else kind,
        path,
        file.tell(),
        big_endian=dtype.byteorder == ">" or (dtype.byteorder == "=" and native_is_big),
        strides=c_strides(shape[::-1])[::-1] if fortran else None,
        stored_bytes=stored,
    )


def _parsed(file: Any) -> tuple[tuple[int, ...], bool, Any]:
    """Return shape, order and dtype as NumPy reads them from a header that is not too long."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the NPY format is unknown")
    size = 2 if version == (1, 0) else 4
    length = int.from_bytes(file.read(size), "little")
    if length > _LARGEST_HEADER:
        raise ValueError(f"its header is longer than {_LARGEST_HEADER} bytes")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it ends within its header")
    if version == (3, 0):  # as 2.0, but in UTF-8: the names of fields may need it
        text = text.decode().encode("ascii", "backslashreplace")
    header = io.BytesIO(len(text).to_bytes(size, "little") + text)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    with warnings.catch_warnings():  # of Python's parser, and that Python 2 wrote it
        warnings.simplefilter("ignore")
        parsed: tuple[tuple[int, ...], bool, Any] = read(header)
    return parsed
