"""Constraint: the identity, and the base of constraints written as in Keras."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Self, overload

from array_constraints import parameters
from array_constraints.executors import acceptance, run
from array_constraints.typing import A, Castable, name_of


class Constraint:
    """A set of allowed weights, and the map that brings any weight into it.

    This base is the identity, and the base of constraints written as in Keras: a subclass
    overrides ``__call__``, and ``get_config`` where its constructor takes arguments. One of
    :class:`Elementwise`, :class:`Slicewise`, :class:`Rescaling` or :class:`WholeSlice` states
    its mathematics instead, and then works lazily, in place and in pieces too.

    Examples
    --------
    >>> import numpy as np
    >>> Constraint()(np.asarray([1.0, -2.0]))
    array([ 1., -2.])
    """

    if TYPE_CHECKING:  # what a subclass may override by (w) as in Keras, and by a form's call

        def __call__(self, w: A, /, *args: Any, **options: Any) -> A: ...

    else:

        def __call__(self, w: Any, *, copy: bool | None = None) -> Any:
            """Return ``w``; subclasses return the weight that they allow."""
            w, library = acceptance.accepted(name_of(type(self)), w, copy)
            return run.deliver(w, w, copy, library)

    @overload
    def violation(self, w: Castable[A]) -> A: ...
    @overload
    def violation(self, w: A) -> A: ...
    def violation(self, w: Any) -> Any:
        """Return how far each entry is from its image: ``abs(w - self(w))``, 0 where equal."""
        w, library = acceptance.accepted(name_of(type(self)), w)
        return library.quietly(run.distance, w, self(w), library)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        if is_dataclass(self):
            return {
                field.name: parameters.to_json(getattr(self, field.name))
                for field in fields(self)
                if field.init
            }
        cls = type(self)
        if cls.__init__ is not object.__init__ or cls.__new__ is not object.__new__:
            raise TypeError(
                f"{name_of(type(self))} has constructor arguments but no get_config: "
                "define get_config to return them"
            )
        return {}

    def get_build_config(self) -> None:
        """Refuse to be saved: Keras asks for this, and could not load the constraint again.

        ``import array_constraints.integrations.keras`` makes it that Keras can.

        Raises
        ------
        TypeError
            Always; with the integration, for a class that is not registered.
        """
        raise TypeError(
            f"Keras could save {name_of(type(self))}, and not load it again: "
            f"import {acceptance.FOR_KERAS} first"
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the constraint that ``get_config`` described."""
        if not is_dataclass(cls):
            return cls(**config)
        texts = {field.name for field in fields(cls) if "str" in str(field.type)}
        return cls(
            **{k: v if k in texts else parameters.from_json(v) for k, v in config.items()}
        )
