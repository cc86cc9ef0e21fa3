"""The table of formats, one row each: how one is told and opened, or why it is refused.

A format that is added needs a row here, and a module in this folder whose ``open_source(path)``
returns a :class:`~array_constraints.files.formats.base.Source`.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from array_constraints.files.formats import shards
from array_constraints.files.formats.base import Source


@dataclass(frozen=True)
class Format:
    """A format of weights, told by the end of a file's name or by what a folder holds."""

    name: str
    suffixes: tuple[str, ...]
    """The ends of names, as the command line and the documentation list them."""
    module: str = ""
    """The module of this folder that opens it."""
    library: str = ""
    """The library that the module imports, which has to be installed."""
    refused: str = ""
    """Why it is not opened, and what to do instead; then there is no module."""
    index: str = ""
    """A regular expression for files that list others: a folder with one of them is opened,
    or else one with a single file of the format."""
    markers: tuple[str, ...] = ()
    """Files that tell a folder of the format, which is no file then."""

    def has(self, file: Path) -> bool:
        """Whether a file is of this format, by its name."""
        of_file = bool(self.refused) or not self.markers
        return self.is_index(file) or (of_file and file.suffix in self.suffixes)

    def is_index(self, file: Path) -> bool:
        """Whether a file lists others of this format, by its name."""
        return bool(self.index) and re.search(self.index, file.name) is not None

    def is_folder(self, folder: Path) -> bool:
        """Whether a folder is of this format."""
        return any(path.is_file() for name in self.markers for path in folder.glob(name))

    def open(self, path: Path) -> Source:
        """Open a file or folder; its module is imported here, and not before.

        Raises
        ------
        ImportError
            If the library of the format is not installed; the message says how to install it.
        """
        source: Source = self._imported().open_source(path)
        return source

    def open_folder(self, file: Path) -> Source:
        """Open the folder whose one file of weights this is, with the small files beside it."""
        return shards.open_folder(file, self._imported().open_file)

    def _imported(self) -> Any:
        if self.library:
            try:
                importlib.import_module(self.library)
            except ImportError as error:
                raise ImportError(
                    f"{self.name} is read with {self.library}: pip install {self.library}"
                ) from error
        return importlib.import_module(f"{__package__}.{self.module}")


TABLE = (
    Format(
        "safetensors",
        (".safetensors", ".safetensors.index.json"),
        module="safetensors",
        index=r"\.safetensors\.index(\.[^/]+)?\.json$",  # with a variant, such as fp16
    ),
    Format(
        "PyTorch",
        (".pt", ".pth", ".bin", ".ckpt", ".bin.index.json"),
        module="pytorch",
        index=r"\.bin\.index(\.[^/]+)?\.json$",
    ),
    Format("NPY", (".npy",), module="npy"),
    Format("NPZ", (".npz",), module="npz"),
    Format(
        "Zarr",
        (".zarr",),
        module="zarr",
        library="zarr",
        markers=("zarr.json", ".zgroup", ".zarray"),
    ),
    Format("HDF5", (".h5", ".hdf5", ".weights.h5"), module="hdf5", library="h5py"),
    Format("Keras", (".keras",), module="keras", library="h5py"),
    Format(
        "pickle",
        (".pkl", ".pickle"),
        refused="a pickle can run any code when it is opened: save it with "
        "safetensors.torch.save_file",
    ),
    Format(
        "GGUF",
        (".gguf",),
        refused="its blocks are quantised: constrain the weights before they are converted",
    ),
    Format(
        "ONNX",
        (".onnx",),
        refused="it holds a graph too: constrain the weights before they are exported",
    ),
    Format(
        "MessagePack",
        (".msgpack",),
        refused="it has no index: save it with safetensors.flax.save_file",
    ),
    Format(
        "PyTorch distributed checkpoint",
        (".distcp",),
        refused="it is a distributed checkpoint of PyTorch: make one file of it with "
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt",
        markers=("*.distcp",),
    ),
    Format(
        "Orbax",
        (),
        refused="it is a checkpoint of Orbax: restore it, and save the arrays with "
        "safetensors.flax.save_file",
        markers=("_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"),
    ),
    Format(
        "TensorFlow",
        (),
        refused="it is a SavedModel of TensorFlow: load it, and save its weights with Keras",
        markers=("saved_model.pb",),
    ),
)

OPENED = tuple(row for row in TABLE if not row.refused)
"""The formats that are read and written."""

SUFFIXES = ", ".join(suffix for row in OPENED for suffix in row.suffixes)
"""The ends of names that are known, for people to read."""
