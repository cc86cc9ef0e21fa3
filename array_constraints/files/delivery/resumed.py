"""A tensor that an interrupted run has left: written again where it is not right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from array_constraints.executors.grid import Region
from array_constraints.files.formats.base import Tensor
from array_constraints.files.formats.damaged import DamagedFileError


@dataclass(frozen=True)
class ResumedTensor(Tensor):
    """A tensor of a copy that is left; regions that are right in it are not written again."""

    tensor: Tensor

    def read(self, region: Region) -> Any:
        return self.tensor.read(region)

    def write(self, region: Region, block: Any) -> None:
        if not self._has(region, block):
            self.tensor.write(region, block)

    def sync(self) -> None:
        self.tensor.sync()

    def _has(self, region: Region, block: Any) -> bool:
        """Whether a region is right, bit for bit; few chunks are read at a time."""
        if not region:
            return self._is(region, block)
        first, *others = region
        most = (self.tensor.chunks or (len(block),))[0]
        return all(
            self._is(
                (slice(i, min(i + most, first.stop)), *others),
                block[i - first.start : i - first.start + most],
            )
            for i in range(first.start, first.stop, most)
        )

    def _is(self, region: Region, block: Any) -> bool:
        try:
            there = self.read(region)
        except DamagedFileError:
            return False
        kind = f"u{block.dtype.itemsize}"  # zeros have signs, and NaNs have bits
        return bool((there.view(kind) == block.view(kind)).all())
