"""Which module opens which file; what cannot be opened, and what to do then."""

from __future__ import annotations

import os
import re
from pathlib import Path

from array_constraints.files.formats.base import Source
from array_constraints.files.formats.links import judge_link
from array_constraints.files.formats.npy import open_npy
from array_constraints.files.formats.npz import open_npz
from array_constraints.files.formats.safetensors import open_index, open_safetensors

_INDEX = re.compile(r"\.safetensors\.index(\.[^/]+)?\.json$")  # with a variant, such as fp16
_ADVICE = {
    **dict.fromkeys(
        (".pt", ".pth", ".bin", ".ckpt", ".pkl"),
        "a pickle can run any code when it is opened: save it with safetensors.torch.save_file",
    ),
    ".gguf": "its blocks are quantised: constrain the weights before they are converted",
    ".onnx": "it holds a graph too: constrain the weights before they are exported",
    ".msgpack": "it has no index: save it with safetensors.flax.save_file",
}
KNOWN = (
    ".safetensors", ".safetensors.index.json", ".npy", ".npz", ".zarr", ".h5", ".hdf5",
    ".weights.h5", ".keras",
)  # fmt: skip


def open_weights(path: str | os.PathLike[str]) -> Source:
    """Open a file of weights, or a folder of shards or of Zarr; nothing is written to it.

    Raises
    ------
    ValueError
        If the format is not known, or the file is damaged.
    OSError
        If it cannot be read.
    ImportError
        If the library of the format is not installed; the message says which extra has it.
    """
    text = os.fspath(path)
    if not text:
        raise ValueError("the name of the file is empty")
    if "://" in text:
        raise ValueError(f"{text}: object stores are not read: copy the file to a disk first")
    path = Path(text).absolute()  # workers elsewhere may be in another folder
    name = path.name
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise ValueError(f"{path}: not a regular file")
    if _INDEX.search(name):
        return open_index(path)
    suffix = path.suffix
    if suffix == ".safetensors":
        return open_safetensors(path)
    if suffix == ".npy":
        return open_npy(path)
    if suffix == ".npz":
        return open_npz(path)
    if suffix in (".h5", ".hdf5"):
        from array_constraints.files.formats.hdf5 import open_hdf5

        return open_hdf5(path)
    if suffix == ".keras":
        from array_constraints.files.formats.keras import open_keras

        return open_keras(path)
    advice = _ADVICE.get(suffix, f"formats are told by the name: {', '.join(KNOWN)}")
    raise ValueError(f"{path}: {suffix or 'a name without a suffix'} is not read: {advice}")


def _open_folder(path: Path) -> Source:
    if any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")):
        from array_constraints.files.formats.zarr import open_zarr

        return open_zarr(path)
    files = sorted(entry for entry in path.iterdir() if entry.is_file())
    indices = [file for file in files if _INDEX.search(file.name)]
    found = indices or [file for file in files if file.suffix == ".safetensors"]
    if len(found) == 1:
        judge_link(found[0], path)
        return open_index(found[0]) if indices else open_safetensors(found[0])
    if found:
        raise ValueError(
            f"{path}: a folder with {_shown([f.name for f in found])}: name the file to open"
        )
    raise ValueError(
        f"{path}: a folder with neither a *.safetensors nor a *.safetensors.index.json nor "
        "Zarr: name the file"
    )


def _shown(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
