"""The ``.npy`` format of NumPy: one array in a file."""

from __future__ import annotations

from pathlib import Path

from array_constraints.files.formats.npy_header import read_header
from array_constraints.files.formats.raw import FileSource


def open_source(path: Path) -> FileSource:
    """Open a ``.npy`` file; its array is named after the file."""
    with path.open("rb") as file:
        tensor = read_header(file, path, path.stem, path.stat().st_size)
    return FileSource(path, {tensor.name: tensor})
