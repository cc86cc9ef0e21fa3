"""What a subject offers, scope by scope: it is judged by that, unless scopes are asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from array_constraints_conformance.specification import SCOPES


@dataclass(frozen=True)
class Offer:
    """Whether a subject offers a scope, and why that is said.

    ``settled``: the subject says itself that it does not, and is not judged by it.
    """

    scope: str
    offered: bool
    reason: str
    settled: bool = False


def looked_up(thing: Any, name: str) -> Any:
    """Return an attribute; None where there is none, or looking it up raises."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def claimed_by(claim: Sequence[str]) -> list[Offer]:
    """Return the offers of a module that names its scopes as ``CONFORMANCE_SCOPES``."""
    said = "CONFORMANCE_SCOPES of the module"
    return [
        Offer(scope, True, f"{said} names it")
        if scope in claim
        else Offer(scope, False, f"{said} does not name it", settled=True)
        for scope in SCOPES
    ]


def found_in(module: Any, constraints: Iterable[Any]) -> list[Offer]:
    """Return the offers of a module, or None, and its constraints, by the names that they have.

    ``map`` is offered by anything that can be called.
    """
    constraints = [each for each in constraints if each is not None]
    of_keras = _present((module,), ("get", "serialize", "deserialize"))
    of_keras += _present(constraints, ("get_config",))
    of_ours = _present((module,), ("apply",)) + _present(constraints, ("violation",))
    of_ours += ["copy="] if any(map(_takes_copy, constraints)) else []
    lacking = {
        "Keras API": "get, serialize, deserialize or get_config",
        "this API": "apply, violation or copy=",
    }
    return [Offer("map", True, "any callable is judged as a map")] + [
        Offer(scope, bool(names), f"it has {_and(names)}" if names else f"it has no {lack}")
        for (scope, lack), names in zip(lacking.items(), (of_keras, of_ours), strict=True)
    ]


def _present(things: Iterable[Any], names: Sequence[str]) -> list[str]:
    things = list(things)
    return [name for name in names if any(looked_up(each, name) is not None for each in things)]


def _takes_copy(constraint: Any) -> bool:
    call = looked_up(constraint, "__call__") if inspect.isclass(constraint) else constraint
    return "copy" in _parameters(call)


def _parameters(call: Callable[..., Any]) -> Iterable[str]:
    try:
        return inspect.signature(call).parameters
    except Exception:  # it has none, or what it claims as its signature raises
        return ()


def _and(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
