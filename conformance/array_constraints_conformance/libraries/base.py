"""The functions that the suite needs of an array library, for any that follows the standard."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from array_constraints_conformance.numerics.formats import FORMATS

Map = Callable[[Any], Any]
_DEVICES = {
    "cpu": "CPU",
    **dict.fromkeys(("cuda", "gpu", "rocm", "hip", "mps", "metal", "xpu"), "GPU"),
    "tpu": "TPU",
}
_DEVICE = re.compile(rf"(?<![a-z])({'|'.join(_DEVICES)})(?![a-z])\D*(\d*)", re.IGNORECASE)


@dataclass(frozen=True)
class Description:
    """The name, version, device and dtypes of a library, as a record holds them."""

    name: str
    version: str | None
    device: str
    dtypes: Sequence[str]


def as_written(device: str, model: str = "") -> str:
    """Return the device that a library names, as a person writes it.

    >>> as_written("TFRT_CPU_0"), as_written("None")
    ('CPU', 'CPU')
    >>> as_written("cuda:1", "NVIDIA H200")
    'GPU 1 (NVIDIA H200)'
    >>> as_written("meta")
    'meta'
    """
    if device == "None":  # the chunks of a Dask array are those of NumPy
        return "CPU"
    found = _DEVICE.search(device)
    if found is None:
        return f"{device} ({model})" if model else device
    kind = _DEVICES[found[1].lower()]
    if kind == "CPU":
        return kind
    return " ".join(filter(None, (kind, found[2], model and f"({model})")))


class UnknownLibrary(ValueError):
    """A library, mode or device that there is not: the call was wrong."""


class Library:
    """An array library that follows the standard, in one of its modes.

    ``array`` and ``numpy`` convert without changing a bit. ``traits`` are the terms in which
    the specification says what a requirement applies to.
    """

    modes: ClassVar[frozenset[str]] = frozenset()
    traits: ClassVar[frozenset[str]] = frozenset()
    slow: ClassVar[bool] = False  # a call takes milliseconds, or is compiled first

    def __init__(
        self, name: str, module: str, chosen: frozenset[str], device: str | None
    ) -> None:
        self.name, self.module, self.chosen, self.device_name = name, module, chosen, device
        self.xp: Any = importlib.import_module(module)

    @property
    def version(self) -> str | None:
        try:
            return metadata.version(self.module.partition(".")[0].replace("_", "-"))
        except metadata.PackageNotFoundError:
            return getattr(self.xp, "__version__", None)

    @property
    def described(self) -> Description:
        x = self.array(np.zeros(1, np.float32))
        device = as_written(self.device(x), self.model(x))
        return Description(self.name, self.version, device, list(self.dtypes))

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Enter the state that the library is judged in."""
        yield

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The real floating dtypes, by name."""
        return tuple(name for name in FORMATS if hasattr(self.xp, name))

    def array(self, a: np.ndarray) -> Any:
        """Return a new array with the bits of ``a``."""
        options = {} if self.device_name is None else {"device": self.device_name}
        return self.xp.asarray(a.copy(), **options)

    def numpy(self, x: Any) -> np.ndarray:
        """Return the bits of an array of this library."""
        return np.asarray(x)

    def type_of(self, x: Any) -> str:
        return f"{type(x).__module__}.{type(x).__qualname__}"

    def is_own(self, x: Any) -> bool:
        """Whether ``x`` is an array of this library."""
        return isinstance(x, type(self.xp.asarray(0.0)))

    def device(self, x: Any) -> str:
        return str(getattr(x, "device", None))

    def model(self, x: Any) -> str:
        """Return the model of the device that an array is on, where the library tells it."""
        return ""

    def dtype(self, x: Any) -> str:
        return getattr(x.dtype, "name", None) or str(x.dtype).rpartition(".")[2]

    def wrap(self, f: Map) -> Map:
        """Return ``f`` as this mode runs it."""
        return f

    def flushes(self, dtype: str) -> bool:
        """Whether the library counts subnormal numbers of this dtype as zeros."""
        return False

    def shares_memory(self, a: Any, b: Any) -> bool:
        return bool(np.shares_memory(self.numpy(a), self.numpy(b)))

    def read_only(self, a: np.ndarray) -> Any:
        """Return an array that cannot be written, of the equal rows of ``a``."""
        raise NotImplementedError

    def layouts(self, a: np.ndarray) -> dict[str, Any]:
        """Return arrays with the values of ``a`` in other memory orders, by name."""
        return {}

    def byte_orders(self, a: np.ndarray) -> list[Any]:
        """Return copies of ``a`` in other byte orders."""
        return []

    def unwritable(self, a: np.ndarray) -> dict[str, Any]:
        """Return arrays with the values of ``a`` that copy=False must refuse, by name."""
        return {} if "writable" in self.traits else {"an array": self.array(a)}

    def jacobian(self, f: Map, w: np.ndarray) -> np.ndarray:
        """Return the derivative of each entry of ``f(w)`` by each of ``w``: shape + shape."""
        raise NotImplementedError

    def traced(self, f: Map, x: Any) -> Any:
        """Return ``f(x)``, traced as a whole and compiled."""
        raise NotImplementedError

    def mapped(self, f: Map, x: Any) -> Any:
        """Return ``f`` mapped over the leading dimension of ``x``."""
        raise NotImplementedError


class DescribedLibrary(Library):
    """A library in another process, known by its description."""

    def __init__(self, description: Description, device: str | None) -> None:
        self.name, self.device_name = description.name, device
        self._described = description

    @property
    def described(self) -> Description:
        return self._described

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(self._described.dtypes)


@cache
def counts_as_zero(library: Library, dtype: str) -> bool:
    """Whether a library computes with a subnormal number of this dtype as with zero."""
    fmt = FORMATS[dtype]
    x = library.array(np.asarray([fmt.smallest / 2]).astype(fmt.dtype))
    return not (library.numpy(x * 1) > 0).all() or not library.numpy(x > 0).all()
