"""Constraints to and from configurations: strict JSON, and every dialect of Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar, overload

from array_constraints.config import dialects
from array_constraints.config.built_in import ALIASES, BUILT_IN
from array_constraints.constraint import Constraint
from array_constraints.forms import nesting
from array_constraints.typing import Map, name_of

PACKAGE = "array_constraints"
_registered: dict[str, type[Constraint]] = {}
_listeners: list[Callable[[str, type[Constraint]], None]] = []

C = TypeVar("C", bound=type[Constraint])
Classes: TypeAlias = Mapping[str, type[Constraint]] | None
T = TypeVar("T")
F = TypeVar("F", bound=Map)


@overload
def register(cls: C) -> C: ...
@overload
def register(*, package: str = ..., name: str | None = ...) -> Callable[[C], C]: ...
def register(
    cls: C | None = None, *, package: str = "Custom", name: str | None = None
) -> C | Callable[[C], C]:
    """Register a constraint class under ``package>name``, so that its configs can be read.

    Use as ``@register`` or ``@register(package="my_library")``; ``name`` defaults to the name
    of the class.

    Raises
    ------
    ValueError
        If another class has that name, or ``package`` is ``"array_constraints"``.
    TypeError
        If ``cls`` is not a subclass of :class:`Constraint`.

    Examples
    --------
    >>> from array_constraints import Constraint, get, register
    >>> @register(package="docs")
    ... class Halve(Constraint):
    ...     def __call__(self, w):
    ...         return w / 2
    >>> import numpy as np
    >>> get("docs>Halve")(np.asarray([3.0]))
    array([1.5])
    """

    def add(cls: C) -> C:
        if not (isinstance(cls, type) and issubclass(cls, Constraint)):
            raise TypeError(f"register takes a subclass of Constraint, got {cls!r}")
        key = f"{package}>{name or name_of(cls)}"
        if package == PACKAGE:
            raise ValueError(f"package must not be {PACKAGE!r}: that is the library's own")
        if not package or ">" in package or ">" in (name or ""):
            raise ValueError(f"package and name must be non-empty without '>', got {key!r}")
        known = _registered.get(key)
        if known is not None and _origin(known) != _origin(cls):
            raise ValueError(f"{key!r} is already registered, for {_origin(known)}")
        _registered[key] = cls  # the same class again: its module was reloaded
        for listener in _listeners:
            listener(key, cls)
        return cls

    return add if cls is None else add(cls)


def tell(listener: Callable[[str, type[Constraint]], None]) -> None:
    """Tell a listener the registered name of each class: of those known, and of all to come."""
    for name, cls in BUILT_IN.items():
        listener(f"{PACKAGE}>{name}", cls)
    for key, cls in _registered.items():
        listener(key, cls)
    _listeners.append(listener)


@overload
def serialize(constraint: Constraint, dialect: str = ...) -> dict[str, Any]: ...
@overload
def serialize(constraint: None, dialect: str = ...) -> None: ...
def serialize(constraint: Constraint | None, dialect: str = PACKAGE) -> dict[str, Any] | None:
    """Return the config of a constraint: a dictionary that strict JSON can hold.

    Parameters
    ----------
    constraint
        One of the library's, or of a registered class; ``None`` gives ``None``.
    dialect
        ``"array_constraints"``, or ``"keras"`` for what Keras 3 reads as its own class. There
        infinity stays a float, as Keras writes it itself.

    Raises
    ------
    ValueError
        If the class is not registered, or the dialect is unknown or has no such constraint.
    TypeError
        If ``constraint`` is not a :class:`Constraint`, or has arguments but no ``get_config``.

    Examples
    --------
    >>> from array_constraints import MaxNorm, serialize
    >>> serialize(MaxNorm(3.0), dialect="keras")["config"]
    {'max_value': 3.0, 'axis': 0}
    >>> serialize(MaxNorm(3.0))["registered_name"]
    'array_constraints>MaxNorm'
    """
    if dialect not in (PACKAGE, "keras"):
        raise ValueError(f"dialect must be 'array_constraints' or 'keras', got {dialect!r}")
    if constraint is None:
        return None
    if not isinstance(constraint, Constraint):
        raise TypeError(
            f"serialize takes a Constraint or None, got {type(constraint).__name__}"
        )
    cls, config = type(constraint), constraint.get_config()
    if BUILT_IN.get(name_of(cls)) is not cls:
        key = _registered_name(cls)
        return {"module": None, "class_name": key, "config": config, "registered_name": key}
    if dialect == PACKAGE:
        key = f"{PACKAGE}>{name_of(cls)}"
        return {"module": PACKAGE, "class_name": key, "config": config, "registered_name": key}
    return dialects.for_keras(name_of(cls), constraint, config)


@overload
def deserialize(config: Mapping[str, Any], custom_objects: Classes = ...) -> Constraint: ...
@overload
def deserialize(config: None, custom_objects: Classes = ...) -> None: ...
def deserialize(
    config: Mapping[str, Any] | None, custom_objects: Classes = None
) -> Constraint | None:
    """Return the constraint that a config describes; ``None`` gives ``None``.

    Reads the library's own configs and those of Keras 1, 2 and 3, tf_keras and TensorFlow.js.
    Nothing is imported or evaluated by name: a class is the library's own, registered, or named
    in ``custom_objects``. Tuples and arrays are read as Keras and TensorFlow write them.

    Raises
    ------
    ValueError
        If the config is malformed or nested more than 64 levels deep, or its class unknown or
        another library's.
    TypeError
        If the parameters are not those of the class.

    Examples
    --------
    >>> from array_constraints import deserialize
    >>> deserialize({"class_name": "MaxNorm", "config": {"max_value": 2, "axis": 0}})
    MaxNorm(max_value=2, axis=0)
    """
    if config is None:
        return None
    if not isinstance(config, Mapping):
        raise ValueError(f"a config is a dictionary, got {type(config).__name__}")
    name, module, registered_name, parameters = dialects.read(config)
    cls = _find(name, module, registered_name, custom_objects or {})
    if not (isinstance(cls, type) and hasattr(cls, "from_config")):
        raise TypeError(f"custom_objects must name classes with from_config, got {cls!r}")
    if custom_objects and issubclass(cls, nesting.Nesting):  # which the members are of, too
        parameters = {k: _with_members(v, custom_objects) for k, v in parameters.items()}
    return cls.from_config(parameters)


def _with_members(value: Any, custom_objects: Classes) -> Any:
    """Return a parameter with constraints in the place of their configs."""
    if isinstance(value, Mapping):
        return deserialize(value, custom_objects)
    if isinstance(value, list | tuple):
        return [_with_members(entry, custom_objects) for entry in value]
    return value


def names_constraint(config: Mapping[str, Any]) -> bool:
    """Whether a config names a constraint of this library or of Keras, or a registered one."""
    name = config.get("registered_name") or config.get("class_name")
    if not isinstance(name, str):
        return False
    module = config.get("module")
    if isinstance(module, str) and not _is_ours(module):
        return name in _registered or dialects.is_from_keras(module)
    return name in _registered or name.removeprefix(f"{PACKAGE}>") in BUILT_IN


@overload
def get(identifier: None) -> None: ...
@overload
def get(identifier: str | Mapping[str, Any]) -> Constraint: ...
@overload
def get(identifier: type[T]) -> T: ...  # type: ignore[overload-overlap]  # callable, too
@overload
def get(identifier: F) -> F: ...
def get(identifier: Any) -> Any:
    """Return a constraint from whatever names one, as ``keras.constraints.get`` does.

    Parameters
    ----------
    identifier
        ``None``, a name (``"MaxNorm"``, ``"max_norm"``, a registered ``"package>Name"``, and
        other spellings, such as those of Keras 1), a config, a class, or any callable, which
        is returned as it is.

    Raises
    ------
    ValueError
        If nothing is named.
    TypeError
        If the class that is named cannot be made without arguments.

    Examples
    --------
    >>> from array_constraints import get
    >>> get("unit_norm")
    UnitNorm(axis=0)
    """
    if identifier is None:
        return None
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, str):
        return class_named(identifier)()
    if isinstance(identifier, type):
        identifier = identifier()
    if callable(identifier):
        return identifier
    kind = type(identifier).__name__
    raise ValueError(f"a constraint is None, a name, config, class or callable, got {kind}")


def class_named(name: str) -> type[Constraint]:
    """Return the class of that name, whatever its spelling, or raise ValueError."""
    return _find(name, None, None, {})


def _find(
    name: str,
    module: str | None,
    registered_name: str | None,
    custom: Mapping[str, type[Constraint]],
) -> type[Constraint]:
    full = registered_name or name
    for known in (custom, _registered):
        for key in (full, name):
            if key in known:
                return known[key]
    package, _, bare = full.rpartition(">")
    cls = _SPELLINGS.get(bare.replace("-", "_"))
    if cls is None:
        import difflib

        known_names = sorted({*BUILT_IN, *_registered, *custom} - {name_of(Constraint)})
        near = difflib.get_close_matches(bare, [*_SPELLINGS, *known_names], 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"unknown constraint {full!r}: {meant}known are {known_names}; register its class, "
            "or pass it in custom_objects"
        )
    from_here = (module is None or _is_ours(module)) and package in ("", PACKAGE)
    if from_here or (not package and dialects.is_from_keras(module)):
        if _SPELLINGS.get(name.rpartition(">")[2].replace("-", "_")) is not cls:
            raise ValueError(f"class_name {name!r} and registered_name {full!r} contradict")
        return cls
    raise ValueError(
        f"{name!r} of module {module!r} (registered as {registered_name!r}) is not the "
        f"{bare} of this library: register its class, or pass it in custom_objects"
    )


def _is_ours(module: str) -> bool:
    """Keras writes the module of a class, which may be any in the package."""
    return module.split(".")[0] == PACKAGE


def _registered_name(cls: type[Constraint]) -> str:
    for key, known in _registered.items():
        if known is cls:
            return key
    raise ValueError(
        f"{_origin(cls)} is not registered, so its config could not be read back: "
        "decorate it with array_constraints.register"
    )


def _origin(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


_SPELLINGS = {
    spelling: cls for name, cls in BUILT_IN.items() for spelling in dialects.spellings(name)
} | {alias: cls for name, cls in BUILT_IN.items() for alias in ALIASES.get(name, ())}

nesting.use(nesting.Codec(get, serialize))
