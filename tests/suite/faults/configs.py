"""Faults of configs of the four constraints: the family CFG but for what ``modules`` has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from faults.dialects import IN_FUNCTIONS, first_axis, without_none, without_rate
from faults.making import Fault, implementation
from faults.modules import IN_MODULES

MIN_MAX, UNIT = ("MinMaxNorm",), ("UnitNorm",)


def with_methods(name: str = "MaxNorm", **methods: Any) -> Callable[[], Any]:
    """Return a module in which a constraint has these methods, set once its class is made."""

    def made() -> Any:
        module = implementation()
        cls = getattr(module, name)
        for key, method in methods.items():
            setattr(cls, key, method)
        return module

    return made


def arguments(constraint: Any) -> dict[str, Any]:
    return {f.name: getattr(constraint, f.name) for f in fields(constraint)}


def own_from_config(change: Callable[[dict[str, Any]], dict[str, Any]], name: str) -> Any:
    """Return a module whose ``from_config`` loses something; pickling does not ask it."""

    def made() -> Any:
        module = implementation()
        cls = getattr(module, name)
        right = cls.__reduce__

        def from_config(kind: type, config: dict[str, Any]) -> Any:
            return super(kind, kind).from_config(change(dict(config)))

        def reduce(self: Any) -> Any:
            function, (key, _) = right(self)
            return _made_again, (function, key, arguments(self))

        cls.from_config, cls.__reduce__ = classmethod(from_config), reduce
        return module

    return made


def _made_again(function: Callable[..., Any], key: int, given: dict[str, Any]) -> Any:
    return type(function(key, {}))(**given)


def _keyword_only(self: Any, *, max_value: Any = 2, axis: Any = 0) -> None:
    object.__setattr__(self, "max_value", max_value)
    object.__setattr__(self, "axis", axis)
    self.__post_init__()


def _upper_bound_first(
    self: Any, max_value: Any = 1.0, min_value: Any = 0.0, rate: Any = 1.0, axis: Any = 0
) -> None:
    given = {"min_value": min_value, "max_value": max_value, "rate": rate, "axis": axis}
    for key, value in given.items():
        object.__setattr__(self, key, value)
    self.__post_init__()


def _two_by_default() -> Any:
    """Return a module in which the upper bound is 2 by default, by whatever name it is made."""

    def init(
        self: Any, min_value: Any = 0.0, max_value: Any = 2.0, rate: Any = 1.0, axis: Any = 0
    ) -> None:
        _upper_bound_first(self, max_value, min_value, rate, axis)

    module = implementation(MinMaxNorm={"__init__": init})
    right = module.get
    module.get = lambda name: type(right(name))() if isinstance(name, str) else right(name)
    return module


def _sorted_axes(self: Any) -> None:
    super(type(self), self).__post_init__()
    if isinstance(self.axis, tuple) and all(i >= 0 for i in self.axis):
        object.__setattr__(self, "axis", tuple(sorted(self.axis)))


def _negative_in_tuple(self: Any) -> None:
    super(type(self), self).__post_init__()
    if isinstance(self.axis, int) and self.axis < 0:
        object.__setattr__(self, "axis", (self.axis,))


def _reduced_without_rate(self: Any) -> Any:
    return _again_as, (type(self), self.min_value, self.max_value, self.axis)


def _again_as(name: type, low: float, high: float, axis: Any) -> Any:
    return name(low, high, axis=axis)


def _by_identity(self: Any) -> int:
    return id(self) // 16


def _but_the_axis(self: Any, other: Any) -> bool:
    return type(self) is type(other)


def _bounds_alone(self: Any) -> int:
    return hash((getattr(self, "max_value", None), getattr(self, "min_value", None)))


def _but_the_rate(self: Any, other: Any) -> bool:
    if type(self) is not type(other):
        return False
    one, two = ({**arguments(c), "rate": 1} for c in (self, other))
    return one == two


def _rounded(self: Any) -> str:
    return f"MaxNorm(max_value={self.max_value:g}, axis={self.axis!r})"


def _without_axis(self: Any) -> str:
    return f"MaxNorm(max_value={self.max_value!r})"


def _list_kept(self: Any) -> None:
    """Keep the list that was passed, and whoever changes it changes the constraint."""
    given = self.axis
    super(type(self), self).__post_init__()
    if isinstance(given, list):
        object.__setattr__(self, "axis", given)


def _plain(constraint: Any) -> tuple[Any, ...]:
    axis = constraint.axis
    return (*_bare(constraint), tuple(axis) if isinstance(axis, list) else axis)


def _bare(constraint: Any) -> tuple[Any, ...]:
    return tuple(value for key, value in arguments(constraint).items() if key != "axis")


def _assigned(self: Any, name: str, value: Any) -> None:
    """Let the axis be assigned, and nothing else."""
    if name != "axis":
        raise AttributeError(f"{name} cannot be assigned")
    object.__setattr__(self, name, value)


FAULTS = [
    Fault(
        "CFG-1",
        "parameters are taken by keyword alone",
        lambda: implementation(MaxNorm={"__init__": _keyword_only}),
    ),
    Fault(
        "CFG-1",
        "max_value comes first",
        lambda: implementation(MinMaxNorm={"__init__": _upper_bound_first}),
        MIN_MAX,
    ),
    Fault(
        "CFG-1",
        "max_value is 2 by default",
        _two_by_default,
        MIN_MAX,
    ),
    Fault(
        "CFG-2",
        "axes are sorted",
        lambda: implementation(MinMaxNorm={"__post_init__": _sorted_axes}),
        MIN_MAX,
    ),
    Fault(
        "CFG-2",
        "a negative axis comes back in a tuple",
        lambda: implementation(UnitNorm={"__post_init__": _negative_in_tuple}),
        UNIT,
    ),
    Fault("CFG-3", "the rate is lost", own_from_config(without_rate, "MinMaxNorm"), MIN_MAX),
    Fault("CFG-3", "an axis of None is lost", own_from_config(without_none, "MaxNorm")),
    Fault("CFG-3", "the first of several axes is read", own_from_config(first_axis, "MaxNorm")),
    Fault(
        "CFG-6",
        "the rate is not pickled",
        with_methods("MinMaxNorm", __reduce__=_reduced_without_rate),
        MIN_MAX,
    ),
    Fault(
        "CFG-6", "a constraint cannot be pickled", with_methods(__reduce__=object.__reduce__)
    ),
    Fault("CFG-10", "the hash is that of the object", with_methods(__hash__=_by_identity)),
    Fault(
        "CFG-10",
        "constraints along other axes are equal",
        with_methods("UnitNorm", __eq__=_but_the_axis, __hash__=_bounds_alone),
        UNIT,
    ),
    Fault(
        "CFG-10",
        "constraints of another rate are equal",
        with_methods("MinMaxNorm", __eq__=_but_the_rate, __hash__=_bounds_alone),
        MIN_MAX,
    ),
    Fault("CFG-10", "repr shows six digits", with_methods(__repr__=_rounded)),
    Fault("CFG-10", "repr does not show the axis", with_methods(__repr__=_without_axis)),
    Fault("CFG-10", "the axis can be assigned", with_methods(__setattr__=_assigned)),
    Fault(
        "CFG-10",
        "a list of axes is kept as it is",
        with_methods(
            "UnitNorm",
            __post_init__=_list_kept,
            __eq__=lambda a, b: type(a) is type(b) and _plain(a) == _plain(b),
            __hash__=lambda a: hash(_plain(a)),
        ),
        UNIT,
    ),
    *IN_FUNCTIONS,
    *IN_MODULES,
]
