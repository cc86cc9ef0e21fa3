"""The names under which Keras saves the classes of constraints, and finds them again."""

from __future__ import annotations

from typing import Any

import keras

from array_constraints import Constraint, serialize
from array_constraints.config import tell
from array_constraints.typing import name_of


def register_with_keras() -> None:
    """Register each class of ``array_constraints`` with Keras, those to come too.

    Keras writes ``__name__`` of a class into its configs, and where it does not know the
    registered name it takes its own class of that ``__name__``, without a word. There is no
    class ``"array_constraints>MaxNorm"`` of its own, so that this is an error instead.
    """
    tell(_register)
    setattr(Constraint, "get_build_config", _build_config)  # noqa: B010 - the type is another


def _register(key: str, cls: type[Constraint]) -> None:
    package, _, name = key.partition(">")
    keras.saving.register_keras_serializable(package, name)(cls)
    cls.__name__ = key  # __qualname__, which pickle and repr read, stays


def _build_config(constraint: Constraint) -> None:
    """Return nothing, or raise where Keras could not load the constraint again."""
    reason = why_not_saved(constraint)
    if reason:
        raise TypeError(f"Keras could save {name_of(type(constraint))}, but {reason}")


def why_not_saved(constraint: Any) -> str:
    """Return why Keras would not load a constraint again as it is; nothing if it would."""
    if isinstance(constraint, Constraint):
        try:
            serialize(constraint)
        except (TypeError, ValueError) as error:
            return _unless_registered(constraint, type(constraint), str(error))
        return ""
    if not hasattr(constraint, "__name__"):  # an instance, and no function
        return _unless_registered(
            constraint,
            type(constraint),
            f"its class {name_of(type(constraint))} is not registered: "
            "use keras.saving.register_keras_serializable",
        )
    return _unless_registered(
        constraint,
        constraint,
        f"the function {constraint.__name__} is not registered: "
        "use keras.saving.register_keras_serializable",
    )


def _unless_registered(constraint: Any, named: Any, reason: str) -> str:
    """Return the reason, unless the class or function is Keras's own, or registered there."""
    if named.__module__.partition(".")[0] == "keras":
        return ""
    known = keras.saving.get_registered_object(keras.saving.get_registered_name(named))
    if known is not named:
        return reason
    if hasattr(keras.constraints, named.__name__):
        return (
            f"another process could take Keras's own {named.__name__} for it: "
            "register it with array_constraints.register, or name it otherwise"
        )
    return ""
