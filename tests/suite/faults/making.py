"""Implementations with one fault each, made from the right one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from array_constraints_conformance.trial.subject import Subject, module_subject, single

import array_constraints as ac
from array_constraints.executors.acceptance import accepted_by

CONSTRAINTS = (ac.MaxNorm, ac.MinMaxNorm, ac.NonNeg, ac.UnitNorm)
NORMS = ("MaxNorm", "MinMaxNorm", "UnitNorm")
SNAKE = {"MaxNorm": "max_norm", "MinMaxNorm": "min_max_norm", "NonNeg": "non_neg"}
SNAKE |= {"UnitNorm": "unit_norm"}


@dataclass(frozen=True)
class Fault:
    """An implementation with one fault, and the requirement that it does not meet.

    ``also`` are the requirements that may not be met either, as a consequence: the suite must
    find the one, and nothing beside these, on ``library``, for ``constraints``.
    """

    breaks: str
    summary: str
    module: Callable[[], Any]
    constraints: tuple[str, ...] = ("MaxNorm",)
    library: str = "numpy"
    also: frozenset[str] = frozenset()
    contains: Callable[[Any, float], bool] | None = None

    def subject(self) -> Subject:
        """Return what the suite judges; with ``contains``, ``module`` makes a constraint."""
        if self.contains is None:
            return module_subject(self.module(), "faulty")
        return single(self.module(), contains=self.contains, axis=0, convex=True)

    def __str__(self) -> str:
        return f"{self.breaks} {self.summary}"


def implementation(**replaced: Any) -> SimpleNamespace:
    """Return all of array_constraints as a module of its own, with functions replaced.

    A name of a constraint replaces attributes of its class (``MaxNorm={"__call__": f}``),
    ``norms`` those of the three norm constraints, ``every`` those of all four; any other name
    replaces that function of the module, as ``get`` or ``serialize``.
    """
    every, norms = replaced.pop("every", {}), replaced.pop("norms", {})
    classes = {}
    for cls in CONSTRAINTS:
        attributes = {**every, **(norms if cls.__name__ in NORMS else {})}
        attributes |= replaced.pop(cls.__name__, {})
        classes[cls.__name__] = _subclass(cls, attributes)

    def adopted(constraint: Any) -> Any:
        own = classes.get(type(constraint).__name__)
        if own is None or not isinstance(constraint, CONSTRAINTS):
            return constraint
        given = {name: getattr(constraint, name) for name in constraint.get_config()}
        return own(**given)

    def original(constraint: Any) -> Any:
        for cls in CONSTRAINTS:
            if type(constraint) is classes[cls.__name__]:
                return cls.from_config(constraint.get_config())
        return constraint

    def get(identifier: Any) -> Any:
        if isinstance(identifier, type):
            return identifier()
        known = isinstance(identifier, tuple(classes.values()))
        return identifier if known else adopted(ac.get(identifier))

    module = SimpleNamespace(
        __name__="faulty",
        Constraint=ac.Constraint,
        **classes,
        **{SNAKE[name]: cls for name, cls in classes.items()},
        get=get,
        register=ac.register,
        apply=apply,
        files=SimpleNamespace(project_file=project_file, check_file=check_file),
        serialize=lambda c, **options: ac.serialize(original(c), **options),
        deserialize=lambda config, *more: adopted(ac.deserialize(config, *more)),
    )
    vars(module).update(replaced)
    return module


def apply(constraint: Any, weights: Any, *, copy: bool | None = None) -> Any:
    """Constrain each array of dictionaries, lists and tuples."""
    if isinstance(weights, dict):
        return {key: apply(constraint, w, copy=copy) for key, w in weights.items()}
    if isinstance(weights, list | tuple):
        return type(weights)(apply(constraint, w, copy=copy) for w in weights)
    return constraint(weights, copy=copy)


def project_file(source: Any, target: Any, constraint: Any) -> None:
    np.save(target, constraint(np.load(source)))


def check_file(source: Any, constraint: Any) -> Any:
    violation = constraint.violation(np.load(source))
    return SimpleNamespace(satisfied=bool((violation == 0).all()))


def _subclass(cls: type, attributes: dict[str, Any]) -> type:
    """Return a class of the same name and fields that other modules can find, to pickle it."""
    made = type(cls.__name__, (cls,), {**attributes, "__module__": __name__})
    made = dataclasses.dataclass(frozen=True, repr=False)(made)  # equal by value: JAX jits it
    key = len(_MADE)
    _MADE[key] = made
    made.__reduce__ = lambda self: (_again, (key, self.get_config()))  # type: ignore[attr-defined]
    return made


_MADE: dict[int, type] = {}


def _again(key: int, config: dict[str, Any]) -> Any:
    return _MADE[key].from_config(config)


def after(change: Callable[..., Any]) -> dict[str, Any]:
    """Return attributes: the right call, and then ``change(constraint, w, result)``.

    ``change`` returns the faulty result; ``copy`` keeps its meaning on NumPy.
    """

    def call(self: Any, w: Any, *, copy: bool | None = None) -> Any:
        parent = super(type(self), self)
        if _swapped(w):
            return parent.__call__(w, copy=copy)
        parent.__call__(w.copy() if copy is False and _writable(w) else w, copy=copy)
        result = change(self, w, parent.__call__(w))
        if copy is False:
            w[...] = result
            return w
        return parent.__call__(w, copy=True) if copy and result is w else result

    return {"__call__": call}


def without_writing(change: Callable[..., Any]) -> dict[str, Any]:
    """Return attributes: ``change(constraint, w, right)``, but the right call to write."""

    def call(self: Any, w: Any, *, copy: bool | None = None) -> Any:
        right = super(type(self), self).__call__
        accepted_by(self, w, copy)
        if copy is False or not w.size or _swapped(w):
            return right(w, copy=copy)
        result = change(self, w, right)
        return result.copy() if copy else result

    return {"__call__": call}


def _writable(w: Any) -> bool:
    flags = getattr(w, "flags", None)
    return bool(getattr(flags, "writeable", False)) and 0 not in w.strides


def _swapped(w: Any) -> bool:
    """Whether an array is in a foreign byte order: the fault that is about it is ARR-13's."""
    return isinstance(w, np.ndarray) and not w.dtype.isnative


def in_its_byte_order(w: Any, result: Any) -> Any:
    """Return the result in the byte order of ``w``, which ``numpy.where`` forgets."""
    same = getattr(result.dtype, "name", None) == getattr(w.dtype, "name", "")
    return result.astype(w.dtype) if same and not w.dtype.isnative else result
