"""Every format of weights: how a file of it is made, by the format's own library, and read."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Format:
    """``make(path, arrays)`` writes a file; ``read(path)`` gives all of its arrays."""

    name: str
    suffix: str
    make: Callable[[Path, Arrays], None]
    read: Callable[[Path], Arrays]
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    resumable: bool = True
    single: bool = False

    def __str__(self) -> str:
        return self.name


def _make_safetensors(path: Path, arrays: Arrays) -> None:
    from safetensors.numpy import save_file

    # The library's NumPy part knows no bfloat16 of ml_dtypes: torch's does.
    if any(a.dtype == BFLOAT16 for a in arrays.values()):
        from safetensors.torch import save_file as save_torch

        tensors = {name: as_torch(a) for name, a in arrays.items()}
        save_torch(tensors, path, metadata={"format": "pt", "made": "by a test"})
        return
    save_file(arrays, path, metadata={"format": "np", "made": "by a test"})


def as_torch(a: np.ndarray) -> Any:
    import torch

    if a.dtype == BFLOAT16:
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)


def as_numpy(t: Any) -> np.ndarray:
    import torch

    if t.dtype == torch.bfloat16:
        return t.view(torch.int16).numpy().view(BFLOAT16)
    return t.numpy()


def _read_safetensors(path: Path) -> Arrays:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {name: as_numpy(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118


def _make_pytorch(path: Path, arrays: Arrays) -> None:
    import torch

    torch.save({name: as_torch(a) for name, a in arrays.items()}, path)


def _read_pytorch(path: Path) -> Arrays:
    import torch

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    loaded = torch.load(path, weights_only=True)
    return {name: as_numpy(t) for name, t in loaded.items()}


def _make_shards(path: Path, arrays: Arrays, suffix: str = ".safetensors") -> None:
    path.mkdir()
    make = {".safetensors": _make_safetensors, ".bin": _make_pytorch}[suffix]
    weight_map, names = {}, sorted(arrays)
    for i, some in enumerate((names[::2], names[1::2]), 1):
        shard = f"model-{i:05}-of-00002{suffix}"
        make(path / shard, {name: arrays[name] for name in some})
        weight_map |= dict.fromkeys(some, shard)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (path / f"model{suffix}.index.json").write_text(json.dumps(index))


def _make_pytorch_shards(path: Path, arrays: Arrays) -> None:
    _make_shards(path, arrays, ".bin")


def _read_shards(path: Path) -> Arrays:
    found: Arrays = {}
    for shard in sorted(path.glob("model-*")):
        read = _read_pytorch if shard.suffix == ".bin" else _read_safetensors
        found |= read(shard)
    return found


def _make_npy(path: Path, arrays: Arrays) -> None:
    np.save(path, next(iter(arrays.values())))


def _make_fortran(path: Path, arrays: Arrays) -> None:
    np.save(path, np.asfortranarray(next(iter(arrays.values()))))


def _make_big_endian(path: Path, arrays: Arrays) -> None:
    a = next(iter(arrays.values()))
    np.save(path, a.astype(a.dtype.newbyteorder(">")))


def _read_npy(path: Path) -> Arrays:
    a = np.load(path)
    return {"w": _native(a)}


def _native(a: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "V":
        return a.view(BFLOAT16)
    return a.astype(a.dtype.newbyteorder("="), copy=False)


def _make_npz(path: Path, arrays: Arrays) -> None:
    np.savez(path, **arrays)


def _make_compressed_npz(path: Path, arrays: Arrays) -> None:
    np.savez_compressed(path, **arrays)


def _read_npz(path: Path) -> Arrays:
    with np.load(path) as file:
        return {name: _native(file[name]) for name in file.files}


def _make_zarr(zarr_format: int, shards: bool) -> Callable[[Path, Arrays], None]:
    def make(path: Path, arrays: Arrays) -> None:
        import zarr

        group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
        group.attrs["made"] = "by a test"
        for name, a in arrays.items():
            chunks = tuple(max(1, n // 5) for n in a.shape)
            options: dict[str, Any] = {"chunks": chunks}
            if shards:
                options["shards"] = tuple(2 * n for n in chunks)
            made = group.create_array(name, shape=a.shape, dtype=a.dtype, **options)
            made[...] = a

    return make


def _read_zarr(path: Path) -> Arrays:
    import zarr

    group = zarr.open_group(path, mode="r")
    return {name: _native(np.asarray(a[...])) for name, a in group.arrays()}


def _make_hdf5(path: Path, arrays: Arrays, **options: Any) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["made"] = "by a test"
        for name, a in arrays.items():
            chosen = options if a.ndim > 1 else {}
            if chosen:
                chosen = {**chosen, "chunks": tuple(max(1, n // 5) for n in a.shape)}
            dataset = file.create_dataset(f"layers/{name}", data=a, **chosen)
            if a.dtype == BFLOAT16:
                dataset.attrs["dtype"] = "bfloat16"  # as Keras does


def _make_gzip(path: Path, arrays: Arrays) -> None:
    _make_hdf5(path, arrays, compression="gzip", shuffle=True)


def _read_hdf5(path: Any) -> Arrays:
    import h5py

    with h5py.File(path, "r") as file:
        return {name: _native(a[...]) for name, a in file["layers"].items()}


def _make_keras(path: Path, arrays: Arrays) -> None:
    weights = path.with_suffix(".h5")
    _make_hdf5(weights, arrays)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.write(weights, "model.weights.h5")
        archive.writestr("config.json", "{}")
    weights.unlink()


def _read_keras(path: Path) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        with archive.open("model.weights.h5") as file:
            return _read_hdf5(file)


_REAL = ("float16", "float32", "float64")
FORMATS = [
    Format("safetensors", ".safetensors", _make_safetensors, _read_safetensors),
    Format("shards", "", _make_shards, _read_shards),
    Format("pytorch", ".pt", _make_pytorch, _read_pytorch),
    Format("pytorch-shards", "", _make_pytorch_shards, _read_shards),
    Format("npy", ".npy", _make_npy, _read_npy, single=True),
    Format("npy-fortran", ".npy", _make_fortran, _read_npy, single=True),
    Format("npy-big-endian", ".npy", _make_big_endian, _read_npy, _REAL, single=True),
    Format("npz", ".npz", _make_npz, _read_npz, resumable=False),
    Format("npz-compressed", ".npz", _make_compressed_npz, _read_npz, resumable=False),
    Format("zarr-2", ".zarr", _make_zarr(2, False), _read_zarr, _REAL),
    Format("zarr-3", ".zarr", _make_zarr(3, False), _read_zarr, _REAL),
    Format("zarr-3-sharded", ".zarr", _make_zarr(3, True), _read_zarr, _REAL),
    Format("hdf5", ".h5", _make_hdf5, _read_hdf5),
    Format("hdf5-gzip", ".h5", _make_gzip, _read_hdf5, resumable=False),
    Format("keras", ".keras", _make_keras, _read_keras),
]
if importlib.util.find_spec("torch") is None:
    FORMATS = [form for form in FORMATS if not form.name.startswith("pytorch")]
BY_NAME = {form.name: form for form in FORMATS}


def digest(path: Path) -> str:
    """The SHA-256 of a file, or of the names and bytes of all files in a folder."""
    found = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        found.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return found.hexdigest()


def weights(dtype: str, shape: tuple[int, ...] = (300, 70), seed: int = 0) -> np.ndarray:
    """Return normal numbers, with a slice of NaN, of infinity, and of zeros in the columns."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(shape).astype(BFLOAT16 if dtype == "bfloat16" else dtype)
    w[..., 0] = 0
    w[0, ..., 1] = np.nan
    w[1, ..., 2] = np.inf
    return w
