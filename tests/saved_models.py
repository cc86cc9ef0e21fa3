"""Saved models, by Keras or by hand: files that ``read_constraints`` is tried on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

h5py = pytest.importorskip("h5py")

FORMS = ["archive", "text", "hdf5"]


def saved(model, form: str, folder: Path) -> Path:
    """Return the path of a model of Keras, saved as an archive, a text or HDF5."""
    path = folder / {"archive": "m.keras", "text": "m.json", "hdf5": "m.h5"}[form]
    if form == "text":
        path.write_text(model.to_json(), encoding="utf-8")
    else:
        model.save(path)
    return path


def written(content: object, path: Path) -> Path:
    """Return the path of a model's configuration, written as its suffix says."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
    elif path.suffix in (".h5", ".hdf5"):
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = text
    else:
        path.write_bytes(text)
    return path


def sequential(*configs: dict) -> dict:
    """Return the configuration of a model that has Dense layers of these options."""
    dense = [{"class_name": "Dense", "config": config} for config in configs]
    return {"class_name": "Sequential", "config": {"name": "net", "layers": dense}}


def net(folder: Path, *configs: dict, suffix: str = ".json") -> Path:
    return written(sequential(*configs), folder / f"net{suffix}")
