"""What the further sets have in common: calls, arguments, configs, and modules of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from faults.making import Fault, apply, check_file, project_file

FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Further:
    """A constraint on NumPy arrays: ``project`` and ``excess`` say all that it does."""

    integers: ClassVar[bool] = False

    def __call__(self, w: Any, *, copy: bool | None = None) -> Any:
        if copy not in (None, True, False) or type(copy) not in (type(None), bool):
            raise TypeError(f"copy must be None, True or False, got {copy!r}")
        self.accept(w)
        if copy is False and not _writable(w):
            raise ValueError("copy=False cannot write into this array")
        with np.errstate(all="ignore"):
            result = np.asarray(self.project(w)).astype(w.dtype)
        if copy is False:
            w[...] = result
            return w
        return result.copy() if np.shares_memory(result, w) else result

    def violation(self, w: Any) -> Any:
        self.accept(w)
        with np.errstate(all="ignore"):
            return np.asarray(self.excess(w), dtype=np.float64)

    def project(self, w: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def excess(self, w: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def accept(self, w: Any) -> None:
        """Refuse what is no array of real numbers, or has a shape that does not fit."""
        if type(w) is not np.ndarray:
            raise TypeError(f"expected a NumPy array, got {type(w).__name__}")
        if w.dtype.name not in FLOATS and not (self.integers and w.dtype.kind in "iu"):
            raise TypeError(f"{type(self).__name__} takes no {w.dtype.name}")
        self.fit(w.shape)

    def fit(self, shape: tuple[int, ...]) -> None:
        """Refuse a shape that does not fit."""

    def set(self, **values: Any) -> None:
        """Store arguments once they are judged."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def get_config(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)


def _writable(w: np.ndarray) -> bool:
    repeated = any(s == 0 and n > 1 for s, n in zip(w.strides, w.shape, strict=True))
    return w.flags.writeable and not repeated


def number(name: str, value: Any, *, finite: bool = True) -> float:
    """Return a plain number, or raise the error of a mistake."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in (int, float):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if math.isnan(value) or (finite and math.isinf(value)):
        raise ValueError(f"{name} must be a {'finite ' * finite}number, got {value!r}")
    return value


def integer(name: str, value: Any) -> int:
    if isinstance(value, np.integer):
        value = value.item()
    if type(value) is not int:
        raise TypeError(f"{name} must be an int, got {value!r}")
    return value


def sliced_axis(axis: Any) -> Any:
    """Return an axis, None, or a tuple of axes."""
    if axis is None:
        return None
    if not isinstance(axis, tuple | list):
        return integer("axis", axis)
    try:
        found = tuple(integer("axis", i) for i in axis)
    except TypeError:
        raise TypeError(f"axis must be an int, a tuple of them or None, got {axis!r}") from None
    if len(set(found)) < len(found):
        raise ValueError(f"axis names a dimension twice: {axis!r}")
    return found


def pair_of_axes(axis: Any) -> tuple[int, int]:
    if not isinstance(axis, tuple | list):
        raise TypeError(f"axis must be a pair of dimensions, got {axis!r}")
    found = sliced_axis(axis)
    if len(found) != 2:
        raise ValueError(f"axis must be a pair of dimensions, got {axis!r}")
    return found


def dimensions(axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the dimensions of an axis, or raise ValueError where it does not fit."""
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    found = []
    for i in axes:
        if not -len(shape) <= i < len(shape):
            raise ValueError(f"axis={axis!r} is out of range for the shape {shape}")
        found.append(i % len(shape))
    if len(set(found)) < len(found):
        raise ValueError(f"axis={axis!r} names a dimension of the shape {shape} twice")
    return tuple(sorted(found))


def module_of(*classes: type) -> SimpleNamespace:
    """Return a module with these constraints, and functions that read and write them."""
    known = {cls.__name__: cls for cls in classes}

    def serialize(constraint: Any) -> Any:
        if constraint is None:
            return None
        name = f"further>{type(constraint).__name__}"
        config = {k: _written(v) for k, v in constraint.get_config().items()}
        return {
            "module": "further",
            "class_name": name,
            "config": config,
            "registered_name": name,
        }

    def deserialize(config: Any) -> Any:
        if config is None:
            return None
        given = {k: _read(v) for k, v in config["config"].items()}
        return known[config["class_name"].partition(">")[2]](**given)

    return SimpleNamespace(
        __name__="further",
        **known,
        apply=apply,
        serialize=serialize,
        deserialize=deserialize,
        get=lambda name: known[name](),
        files=SimpleNamespace(project_file=project_file, check_file=check_file),
    )


def _written(value: Any) -> Any:
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _read(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf") else value


def with_fault(cls: type, **attributes: Any) -> Callable[[], Any]:
    """Return what makes a module in which this constraint has other attributes."""

    def made() -> Any:
        faulty = type(cls.__name__, (cls,), {**attributes, "__module__": __name__})
        faulty = dataclasses.dataclass(frozen=True, repr=False)(faulty)
        _MADE.append(faulty)
        key = len(_MADE) - 1
        faulty.__reduce__ = lambda self: (_again, (key, self.get_config()))  # type: ignore[attr-defined]
        return module_of(faulty)

    return made


def fault(breaks: str, summary: str, cls: type, also: str = "", **attributes: Any) -> Fault:
    """Return a fault of a constraint with these attributes."""
    made = with_fault(cls, **attributes)
    return Fault(breaks, summary, made, (cls.__name__,), also=frozenset(also.split()))


_MADE: list[Any] = []


def _again(key: int, config: dict[str, Any]) -> Any:
    return _MADE[key](**config)
