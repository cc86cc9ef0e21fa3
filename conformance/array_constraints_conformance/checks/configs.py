"""CFG-1 to CFG-8: names, parameters and configs as in Keras."""

from __future__ import annotations

import inspect
import json
import math
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import KERAS, combined
from array_constraints_conformance.checks.mistakes import refuses
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.counterexample import NotProvided, attempt, require, stated
from array_constraints_conformance.numerics.bits import same_values
from array_constraints_conformance.trial.trial import Trial

ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "MaxNorm": [{}, {"max_value": 3, "axis": (0, 1)}, {"max_value": 0.1 + 0.2, "axis": None}],
    "MinMaxNorm": [{}, {"min_value": 0.25, "max_value": 0.7, "rate": 0.3, "axis": [1, 0]}],
    "NonNeg": [{}],
    "UnitNorm": [{}, {"axis": -1}, {"axis": [0, 1]}],
    "Box": [{}, {"min_value": 0.25, "max_value": math.inf}, {"max_value": 0.1 + 0.2}],
    "Mask": [{"mask": [[True], [False]]}, {"mask": [[True, False, True]]}],
    "Triangular": [{}, {"part": "upper", "offset": -1, "axis": (1, 0)}, {"offset": 1}],
    "Banded": [{}, {"lower": None, "upper": 2}, {"axis": [0, 1]}],
    "NMSparse": [{"m": 3}, {"n": 1, "m": 2, "axis": 0}],
    "Sparse": [{"k": 2}, {"density": 0.1 + 0.2, "axis": (0, 1)}, {"k": 1, "axis": None}],
    "Sphere": [{}, {"radius": 0.7, "axis": None, "unit": "rms"}, {"axis": [0, 1]}],
    "Mean": [{}, {"value": 0.1 + 0.2, "axis": (0, 1)}, {"axis": None}],
    "Sum": [{}, {"total": -2.5, "axis": [1, 0]}, {"axis": None}],
    "Standardized": [{}, {"axis": -1}, {"axis": [0, 1]}],
    "Simplex": [{}, {"total": 0.1 + 0.2, "axis": (0, 1)}, {"axis": None}],
    "L1Ball": [{}, {"radius": 2, "axis": [1, 0]}, {"radius": 0.7, "axis": -1}],
    "Monotone": [{}, {"increasing": False, "axis": -1}],
    "Halfspace": [{"normal": 1.0}, {"normal": (0.1, -2.0), "bound": 0.5}],
    "Hyperplane": [{"normal": 2.0}, {"normal": (1.0, 2.0, -0.1), "value": -0.5, "axis": 1}],
    "Chain": [
        {"constraints": [combined.config("NonNeg"), combined.config("MaxNorm", max_value=0.7)]},
        {"constraints": [combined.config("UnitNorm", axis=-1)]},
    ],
    "Relaxed": [{"constraint": combined.config("UnitNorm", axis=1), "rate": 0.1 + 0.2}],
    "Blocks": [
        {"constraint": combined.config("MaxNorm", max_value=0.7, axis=[0, 1]), "size": 2},
        {"constraint": combined.config("NonNeg"), "axis": -1, "sizes": [1, 2]},
    ],
}
WRITTEN_OTHERWISE = {"Mask", "Chain", "Relaxed", "Blocks"}
"""Those that write an argument in a form of their own: packed, or as a whole config."""
SNAKE = {
    "MaxNorm": "max_norm",
    "MinMaxNorm": "min_max_norm",
    "NonNeg": "non_neg",
    "UnitNorm": "unit_norm",
}
_PLAIN = ["Box", "Triangular", "Sphere", "Mean", "Sum", "Standardized", "Simplex", "Monotone"]
SNAKE_OF_FURTHER = {
    **{name: name.lower() for name in _PLAIN},
    "NMSparse": "nm_sparse",
    "L1Ball": "l1_ball",
}
_W = np.asarray([[3.0, -0.3, 0.0], [-4.0, 0.4, 1.0]])
Made = tuple[str, Any, dict[str, Any]]  # the text of the call, the constraint, what was given


def call(name: str, given: dict[str, Any]) -> str:
    """Return the text of a construction."""
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in given.items())})"


def made(trial: Trial, *more: dict[str, Any]) -> Iterator[Made]:
    """Yield constraints, with the text of their call and the arguments given."""
    make = trial.subject.function(trial.constraint)
    defaults = _defaults(trial)
    own = ARGUMENTS.get(trial.constraint, trial.definition.parameters)
    for given in (*own, *more):
        if set(given) <= set(defaults):
            shown = call(trial.constraint, given)
            yield shown, attempt(shown, partial(make, **given)), given


def demand(shown: str, condition: object, message: str, expected: Any, got: Any) -> None:
    """Require a condition of a constraint that was made as ``shown``."""
    require(condition, message, constraint=shown, input=shown, expected=expected, got=got)


def config_of(shown: str, constraint: Any) -> dict[str, Any]:
    if not hasattr(constraint, "get_config"):
        raise stated(NotProvided(f"{type(constraint).__name__} has no get_config"))
    return attempt(shown, constraint.get_config)  # type: ignore[no-any-return]


def plain(value: Any) -> Any:
    """Return a value of a config as it is after JSON: lists, and infinity as a float."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return float(value) if value in ("inf", "-inf") else value


def same_constraint(trial: Trial, shown: str, a: Any, b: Any) -> None:
    """Require the same class, an equal config, and equal results."""
    same_class = type(a) is type(b)
    demand(shown, same_class, "another class", type(a).__name__, type(b).__name__)
    one, two = (plain(config_of(shown, c)) for c in (a, b))
    demand(shown, one == two, "another config", one, two)
    x = trial.library.array(weight_for(a).astype(trial.formats[-1].dtype))
    one, two = (trial.library.numpy(attempt(shown, c, x, w=_W)) for c in (a, b))
    same = same_values(one.reshape(1, -1), two.reshape(1, -1)).all()
    demand(shown, same, "another result", one, two)


def weight_for(constraint: Any) -> np.ndarray:
    """Return a weight that a constraint takes, as long as its normal or of its groups."""
    axis, m = getattr(constraint, "axis", 0), getattr(constraint, "m", None)
    if m is not None:
        return np.resize(_W, (m, m))
    normal = getattr(constraint, "normal", None)
    if isinstance(normal, tuple | list) and _W.shape[axis] != len(normal):
        return _W.T
    return _W


def _defaults(trial: Trial) -> dict[str, Any]:
    return dict(trial.definition.defaults)


@check("CFG-1")
def names_parameters_and_defaults(trial: Trial) -> int:
    make = trial.subject.function(trial.constraint)
    defaults = _defaults(trial)
    ways: dict[str, Callable[[], Any]] = {
        f"{trial.constraint}()": make,
        f"{trial.constraint}(*{tuple(defaults.values())!r})": partial(make, *defaults.values()),
        call(trial.constraint, defaults): partial(make, **defaults),
    }
    for shown, way in ways.items():
        config = plain(config_of(shown, attempt(shown, way)))
        found = {name: config[name] for name in defaults if name in config}
        demand(shown, found == defaults, "another config", defaults, config)
        known = found.keys() | trial.subject.parameters(trial.constraint)
        demand(shown, config.keys() <= known, "names of no parameter", list(known), config)
    return len(ways)


@check("CFG-2")
def get_config_returns_the_arguments(trial: Trial) -> int:
    applied = 0
    for shown, constraint, given in made(trial):
        config, expected = plain(config_of(shown, constraint)), plain(given)
        names = set(_defaults(trial)) | trial.subject.parameters(trial.constraint)
        least = set(_defaults(trial)) if trial.constraint in KERAS else set()
        demand(shown, least <= set(config) <= names, "other names", sorted(names), config)
        if trial.constraint in WRITTEN_OTHERWISE:
            applied += 1
            continue
        found = {name: config[name] for name in expected}
        demand(shown, found == expected, "not the arguments", expected, config)
        applied += 1
    return applied


@check("CFG-3")
def from_config_restores_the_constraint(trial: Trial) -> int:
    applied = 0
    for shown, constraint, _ in made(trial):
        config = config_of(shown, constraint)
        restored = attempt(shown, type(constraint).from_config, config)
        same_constraint(trial, shown, constraint, restored)
        applied += 1
    return applied


def through_json(
    trial: Trial, shown: str, constraint: Any, strict: bool = False, **options: Any
) -> Any:
    """Return the constraint that deserialize restores from JSON of a serialised one."""
    serialize, deserialize = (trial.subject.function(n) for n in ("serialize", "deserialize"))
    config = attempt(shown, partial(serialize, **options), constraint)
    text = attempt(shown, partial(json.dumps, allow_nan=not strict), config)
    return attempt(text, deserialize, json.loads(text))


@check("CFG-4")
def serialisation_survives_json(trial: Trial) -> int:
    applied = 0
    for shown, constraint, _ in made(trial):
        same_constraint(trial, shown, constraint, through_json(trial, shown, constraint))
        applied += 1
    none = through_json(trial, "None", None)
    demand("None", none is None, "None gave something", "None", none)
    return applied


@check("CFG-5")
def get_accepts_every_identifier(trial: Trial) -> int:
    get = trial.subject.function("get")
    none = attempt("get(None)", get, None)
    demand("get(None)", none is None, "None gave something", "None", none)
    for name, snake in (SNAKE | SNAKE_OF_FURTHER).items():
        if not trial.subject.provides(name):
            continue
        cls = trial.subject.function(name)
        instance = attempt(f"{name}()", cls)
        for identifier in (name, snake, cls, {"class_name": name, "config": {}}):
            shown = f"get({identifier!r})"
            same_constraint(trial, shown, instance, attempt(shown, get, identifier))
        kept = attempt(f"get({name}())", get, instance)
        demand(f"get({name}())", kept is instance, "not the instance", "the instance", kept)
    found = attempt("get(abs)", get, abs)
    demand("get(abs)", found is abs, "not the callable", "abs", found)
    refuses((f"get({w!r})", partial(get, w), ValueError, "", "") for w in ("bogus", 3))
    return 1


@check("CFG-6")
def constraints_can_be_pickled(trial: Trial) -> int:
    applied = 0
    for shown, constraint, _ in made(trial):
        data = attempt(shown, pickle.dumps, constraint)
        same_constraint(trial, shown, constraint, attempt(shown, pickle.loads, data))
        applied += 1
    return applied


@check("CFG-7")
def subclasses_work_as_in_keras(trial: Trial) -> int:
    base: Any = trial.subject.function("Constraint")

    class Shift(base):  # type: ignore[misc]
        """Add a number."""

        def __init__(self, by: float = 1.0) -> None:
            self.by = by

        def __call__(self, w: Any) -> Any:
            return w + self.by

        def get_config(self) -> dict[str, Any]:
            return {"by": self.by}

    x = trial.library.array(np.asarray([1.0, 2.0], dtype=trial.formats[-1].dtype))
    shown = "class Shift(Constraint): w + by"
    restored = attempt(shown, Shift.from_config, Shift(2.0).get_config())
    image = trial.library.numpy(attempt(shown, restored, x))
    demand(shown, (image == [3, 4]).all(), "a subclass is not restored", [3.0, 4.0], image)
    same = trial.library.numpy(attempt("Constraint()", base(), x))
    demand(shown, (same == [1, 2]).all(), "the base is not the identity", [1.0, 2.0], same)
    return 1


@check("CFG-8")
def configs_of_keras_are_read(trial: Trial) -> int:
    deserialize = trial.subject.function("deserialize")
    make, defaults = trial.subject.function(trial.constraint), _defaults(trial)
    applied = 0
    for shown, _, given in made(trial):
        constraint = attempt(shown, partial(make, **{**defaults, **given}))
        keras_2 = {"class_name": trial.constraint, "config": plain({**defaults, **given})}
        keras_3 = {"module": "keras.constraints", **keras_2, "registered_name": None}
        for config in (keras_2, keras_3):
            restored = attempt(repr(config), deserialize, dict(config))
            same_constraint(trial, shown, constraint, restored)
            applied += 1
    return applied


@check("CFG-15")
def names_parameters_and_defaults_of_further_sets(trial: Trial) -> int:
    make = trial.subject.function(trial.constraint)
    defaults, required = _defaults(trial), trial.definition.required
    given = {name: defaults[name] for name in required}
    found = attempt(trial.constraint, inspect.signature, make).parameters
    names = [name for name in found if name in defaults]
    shown = call(trial.constraint, given)
    demand(shown, names == list(defaults), "other parameters", list(defaults), list(found))
    if trial.constraint == "Mask":  # which is packed
        return 1
    once = attempt(shown, partial(make, **given))
    for way, constraint in (
        (shown, once),
        (call(trial.constraint, defaults), attempt(shown, partial(make, **defaults))),
        (f"{shown} by position", attempt(shown, partial(make, *defaults.values()))),
    ):
        config, expected = plain(config_of(way, constraint)), plain(defaults)
        if trial.constraint in WRITTEN_OTHERWISE:
            config, expected = (
                {k: v for k, v in each.items() if k not in required}
                for each in (config, expected)
            )
        demand(way, config == expected, "another config", expected, config)
    return 1
