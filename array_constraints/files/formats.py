"""Which module opens which file; what cannot be opened, and what to do then."""

from __future__ import annotations

import os
from pathlib import Path

from array_constraints.files.npy import open_npy
from array_constraints.files.npz import open_npz
from array_constraints.files.safetensors import open_index, open_safetensors
from array_constraints.files.stored import Source

_INDEX = ".safetensors.index.json"
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
    ".safetensors", _INDEX, ".npy", ".npz", ".zarr", ".h5", ".hdf5", ".weights.h5", ".keras",
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
    if name.endswith(_INDEX):
        return open_index(path)
    suffix = path.suffix
    if suffix == ".safetensors":
        return open_safetensors(path)
    if suffix == ".npy":
        return open_npy(path)
    if suffix == ".npz":
        return open_npz(path)
    if suffix in (".h5", ".hdf5"):
        from array_constraints.files.hdf5 import open_hdf5

        return open_hdf5(path)
    if suffix == ".keras":
        from array_constraints.files.hdf5 import open_keras

        return open_keras(path)
    advice = _ADVICE.get(suffix, f"formats are told by the name: {', '.join(KNOWN)}")
    raise ValueError(f"{path}: {suffix or 'a name without a suffix'} is not read: {advice}")


def _open_folder(path: Path) -> Source:
    if any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")):
        from array_constraints.files.zarr import open_zarr

        return open_zarr(path)
    indices = sorted(path.glob(f"*{_INDEX}"))
    if len(indices) == 1:
        return open_index(indices[0])
    found = f"{len(indices)} files *{_INDEX}" if indices else f"neither a *{_INDEX} nor Zarr"
    raise ValueError(f"{path}: a folder with {found}: name the file")
