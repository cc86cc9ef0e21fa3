"""Where the configuration of a Keras model stands: in an archive, a text or an HDF5 file."""

from __future__ import annotations

import errno
import reprlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

from array_constraints.config import strict_json
from array_constraints.parameters import judge_depth

_LONGEST = 2**25
"""Bytes of a configuration: of ten thousand layers."""
_LONGEST_REASON = 400
"""Characters of a reason that are shown: libraries may repeat what is in the file."""
_CONFIG = "config.json"
_ENCRYPTED = 0x1  # a bit of the flags
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
    OverflowError, OSError,
)  # fmt: skip
"""The errors that the ZIP library raises on damaged archives."""


def model_in(path: str | Path) -> dict[str, Any]:
    """Return the configuration of the model in a file: its class, and what it is made of."""
    path = Path(path)
    readers = {".keras": _of_keras, ".json": _of_json, ".h5": _of_hdf5, ".hdf5": _of_hdf5}
    if path.suffix not in readers:
        raise ValueError(f"{path}: models are read from {', '.join(readers)}")
    text = readers[path.suffix](path)
    if len(text) > _LONGEST:
        raise ValueError(f"{path}: the configuration is longer than {_LONGEST} bytes")
    try:
        content = strict_json.parsed(text.decode("utf-8-sig"))
        judge_depth(content)
    except RecursionError:
        raise ValueError(f"{path}: the configuration is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path}: the configuration cannot be read: {error}") from None
    return _model(content, path)


def _model(content: Any, path: Path) -> dict[str, Any]:
    """Return the model in what the file says; TensorFlow.js has it one or two levels deeper."""
    model = content
    for key in ("modelTopology", "model_config"):
        if isinstance(model, dict) and key in model:
            model = model[key]
    if not isinstance(model, dict):
        raise ValueError(f"{path}: holds no model: got {type(model).__name__}")
    if not isinstance(model.get("class_name"), str) or "config" not in model:
        keys = reprlib.repr(list(model))
        raise ValueError(f"{path}: holds no model: it has no class_name or config, got {keys}")
    return model


def _of_json(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST + 1)


def _of_keras(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path}: is a folder: read the {_CONFIG} in it")
    with path.open("rb") as file:
        if file.read(len(_HDF5)) == _HDF5:  # Keras 2 wrote HDF5 under this name at first
            return _of_hdf5(path)
        try:
            with (
                zipfile.ZipFile(file) as archive,
                archive.open(_only_config(archive)) as member,
            ):
                return member.read(_LONGEST + 1)
        except _ZIP_ERRORS as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise  # the system's own: it says more
            raise _unreadable(path, "archive", error) from error


def _only_config(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    found = [info for info in archive.infolist() if info.filename == _CONFIG]
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} members {_CONFIG}")
    (info,) = found
    if info.flag_bits & _ENCRYPTED:
        raise ValueError(f"{_CONFIG} is encrypted: save it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{_CONFIG} is compressed by method {info.compress_type}")
    if info.file_size > _LONGEST:
        raise ValueError(f"{_CONFIG} is longer than {_LONGEST} bytes")
    return info


def _of_hdf5(path: Path) -> bytes:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path}: HDF5 is read with h5py: pip install h5py") from error
    path.open("rb").close()  # the system's own error where there is no such file
    try:
        with h5py.File(path, "r", locking=False) as file:
            if "model_config" not in file.attrs:
                raise ValueError(
                    "it has no attribute model_config: weights alone have no constraints, "
                    "save the whole model"
                )
            return _text(file.attrs.get_id("model_config"), file.attrs)
    except Exception as error:  # what h5py raises on damaged files is not documented
        raise _unreadable(path, "HDF5 file", error) from error


def _text(attribute: Any, attributes: Any) -> bytes:
    """Return the text of the attribute ``model_config``, if it is one and not too long."""
    if attribute.shape != () or attribute.get_storage_size() > _LONGEST:
        raise ValueError(f"model_config must be one text of at most {_LONGEST} bytes")
    text = attributes["model_config"]
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")  # the bytes as they are in the file
    if not isinstance(text, bytes):
        raise ValueError(f"model_config must be a text, got {type(text).__name__}")
    return text


def _unreadable(path: Path, what: str, error: Exception) -> ValueError:
    reason = str(error)[:_LONGEST_REASON] or type(error).__name__
    return ValueError(f"{path}: the {what} cannot be read: {reason}")
