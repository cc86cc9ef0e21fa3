"""The values that a pickle of PyTorch is read as: plain data, none of its objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Name:
    """The name of a function or class, which is not imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Storage:
    """The bytes that tensors share: a member of the archive."""

    kind: str
    """The class of the storage, as ``FloatStorage``."""
    key: str
    entries: int


@dataclass(frozen=True)
class View:
    """A tensor: where its entries are in a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    """Its dtype as PyTorch calls it, as ``uint16``; empty where the storage has it."""


@dataclass(frozen=True)
class Other:
    """Any other object: a device, a set, a tensor that is no part of one storage."""

    made_by: Name


class RefusedPickleError(ValueError):
    """A pickle that asks for what is not done."""


@dataclass(eq=False, slots=True)
class Entries:
    """A list, a dictionary, or a set: pairs of a key, or an index, and a value."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)
