"""The ``.keras`` format: a ZIP archive with the weights as an HDF5 file, not compressed."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from array_constraints.files.formats.base import Target, Tensor
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.hdf5_datasets import check_same_listing, listed
from array_constraints.files.formats.raw import FileSource, RawTensor
from array_constraints.files.formats.stored import Stored, StoredTarget, is_stored, stored_in
from array_constraints.files.formats.zipped import members_of, zip_errors
from array_constraints.layers import KERAS

_WEIGHTS = "model.weights.h5"


@dataclass(kw_only=True)
class Keras(FileSource):
    """A ``.keras`` archive, opened: in it the weights are an HDF5 file, not compressed."""

    weights: Stored
    layout = KERAS

    def target(self, selected: Sequence[Tensor], content: Path) -> Target:
        for tensor in selected:
            if not isinstance(tensor, RawTensor):
                raise ValueError(
                    f"{self.path}: {tensor.name} is in chunks, which is not written inside of "
                    "an archive: save the weights alone, with model.save_weights"
                )
        chosen = [t for t in selected if isinstance(t, RawTensor)]
        return KerasTarget({self.path: content}, chosen, [self.weights], source=self)


def open_source(path: Path) -> Keras:
    """Open a ``.keras`` archive: its list of members and that of its weights are read."""
    with zip_errors(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        infos = members_of(archive, path)
        found = [info for info in infos if info.filename == _WEIGHTS]
        if len(found) != 1:
            raise DamagedFileError(path, f"has {len(found)} members {_WEIGHTS}")
        (member,) = found
        stored = is_stored(member)
        if stored:
            archive.open(member).close()  # which checks the header there
            (weights,) = stored_in(file.fileno(), archive, [member])
    if not stored:
        raise ValueError(
            f"{path}: {_WEIGHTS} in it is compressed or encrypted, which is not read: "
            "save the model with Keras, which does neither"
        )
    return Keras(path, listed(path, weights.start, weights.size), weights=weights)


@dataclass(frozen=True, kw_only=True)
class KerasTarget(StoredTarget):
    """An archive of the same length, in which the HDF5 file has the same datasets."""

    source: Keras

    def finish(self) -> None:
        (content,) = self.copies.values()
        weights = self.source.weights
        check_same_listing(self.source, content, weights.start, weights.size)
        super().finish()
