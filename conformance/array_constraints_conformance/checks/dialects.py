"""CFG-9 to CFG-14: strict JSON, constraints as values, and names that are never confused."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from functools import partial
from importlib.abc import MetaPathFinder
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import KERAS, combined
from array_constraints_conformance.checks.configs import call, demand, made, through_json
from array_constraints_conformance.checks.mistakes import raised, refuses
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.counterexample import attempt
from array_constraints_conformance.trial.trial import Trial

MORE: list[dict[str, Any]] = [
    {"max_value": math.inf},
    {"min_value": 0.5, "max_value": math.inf},
    {"max_value": np.float32(0.5), "axis": np.int64(1)},
]

# Each differs from the defaults in one argument.
ONE: list[dict[str, Any]] = [
    {"max_value": 1.5},
    {"axis": 1},
    {"rate": 0.3},
    {"min_value": 0.25},
]


# Of the further sets, arguments that differ from the others in one.
OTHERS: dict[str, list[dict[str, Any]]] = {
    "Box": [{"min_value": 0.25}],
    "Mask": [{"mask": [[True, False, False]]}, {"mask": [True, False, True]}],
    "Triangular": [{"part": "upper"}, {"axis": (-1, -2)}],
    "Banded": [{"lower": 2}, {"upper": 2}],
    "NMSparse": [{"n": 1}, {"axis": 0}],
    "Sphere": [{"radius": 2.0}, {"axis": 1}, {"unit": "rms"}],
    "Sparse": [{"k": 3}, {"density": 0.5}, {"k": 3, "axis": 1}],
    "Mean": [{"value": 0.5}, {"axis": 1}],
    "Sum": [{"total": 0.5}, {"axis": 1}],
    "Standardized": [{"axis": 1}],
    "Simplex": [{"total": 0.5}, {"axis": 1}],
    "L1Ball": [{"radius": 0.5}, {"axis": 1}],
    "Monotone": [{"increasing": False}, {"axis": 1}],
    "Halfspace": [{"normal": 2.0}, {"normal": 1.0, "bound": 0.5}, {"normal": 1.0, "axis": 1}],
    "Hyperplane": [{"normal": 1.0}, {"normal": 1.0, "value": 0.5}, {"normal": 1.0, "axis": 1}],
    "Chain": [{"constraints": [combined.config("MaxNorm"), combined.config("NonNeg")]}],
    "Relaxed": [{"constraint": combined.config("UnitNorm"), "rate": r} for r in (0.5, 0.3)],
    "Blocks": [
        {"constraint": combined.config("NonNeg"), "size": 1},
        {"constraint": combined.config("NonNeg"), "axis": 1, "size": 1},
    ],
}


@check("CFG-9")
def configs_are_strict_json(trial: Trial) -> int:
    applied = 0
    for shown, constraint, _ in made(trial, *(MORE if trial.constraint in KERAS else ())):
        restored = through_json(trial, shown, constraint, strict=True)
        equal = restored == constraint
        demand(shown, equal, "an unequal constraint", shown, repr(restored))
        applied += 1
    return applied


@check("CFG-10")
def constraints_are_values(trial: Trial) -> int:
    more = [*MORE[:2], *ONE] if trial.constraint in KERAS else OTHERS.get(trial.constraint, [])
    once, again = (list(made(trial, *more)) for _ in range(2))
    for (shown, a, _), (_, b, _) in zip(once, again, strict=True):
        demand(shown, a == b, "equal arguments, unequal constraints", "equal", "unequal")
        hashes = [attempt(shown, hash, c) for c in (a, b)]
        demand(
            shown, hashes[0] == hashes[1], "equal constraints, unequal hashes", "equal", hashes
        )
        names = {"inf": math.inf} | {
            type(x).__name__.rpartition(">")[2]: type(x) for x in _all(a)
        }
        evaluated = attempt(repr(a), eval, repr(a), names)
        demand(shown, evaluated == a, "repr gives another constraint", shown, repr(a))
        for name in trial.definition.defaults:
            error = raised(partial(setattr, a, name, 1))
            got = "no error" if error is None else repr(error)
            frozen = isinstance(error, AttributeError)
            demand(shown, frozen, f"{name} can be assigned", "AttributeError", got)
    for i, (shown, a, _) in enumerate(once):
        for _, b, _ in once[:i]:
            demand(shown, a != b, "unequal arguments, equal constraints", "unequal", repr(b))
    _lists(trial)
    return len(once)


def _all(constraint: Any) -> Iterator[Any]:
    """Yield a constraint, and those that it is made of."""
    yield constraint
    for value in vars(constraint).values() if hasattr(constraint, "__dict__") else ():
        for one in value if isinstance(value, tuple) else (value,):
            if hasattr(one, "get_config"):
                yield from _all(one)


def _lists(trial: Trial) -> None:
    """Require that an axis given as a list is a value too."""
    if not {"sliced constraints", "patterns"} & trial.rule.traits or (
        "axis" not in trial.definition.defaults
    ):
        return
    axes, make = [0, 1], trial.subject.function(trial.constraint)
    shown = f"{trial.constraint}(axis=[0, 1])"
    more = {name: trial.definition.defaults[name] for name in trial.definition.required}
    constraint = attempt(shown, partial(make, axis=axes, **more))
    equal = constraint == make(axis=(0, 1), **more)
    demand(shown, equal, "a list of axes is unequal to a tuple", "equal", "unequal")
    axes.append(2)
    kept = constraint == make(axis=(0, 1), **more)
    message = "changing a list that was passed changed the constraint"
    demand(shown, kept, message, shown, repr(constraint))


@check("CFG-11")
def unknown_and_foreign_names_are_errors(trial: Trial) -> int:
    deserialize = trial.subject.function("deserialize")
    known = next(name for name in trial.subject.definitions if trial.subject.provides(name))
    foreign: list[dict[str, Any]] = [
        {"class_name": "Bogus", "config": {}},
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "somewhere.else", "class_name": known, "config": {}},
        {"class_name": known, "config": {}, "registered_name": f"other>{known}"},
        {"class_name": f"other>{known}", "config": {}},
        {"class_name": "__lambda__", "config": {"value": "lambda w: w"}},
        {"config": {}},
        {},
    ]
    applied = refuses(
        (repr(config), partial(deserialize, dict(config)), ValueError, "", "")
        for config in foreign
    )
    watch = _Watch()
    sys.meta_path.insert(0, watch)
    try:
        raised(partial(deserialize, {"module": watch.bait, "class_name": "A", "config": {}}))
    finally:
        sys.meta_path.remove(watch)
    message = "a module was imported by name"
    demand(watch.bait, not watch.wanted, message, "no import", watch.bait)
    return applied + 1


class _Watch(MetaPathFinder):
    """Sees whether a module that does not exist is looked for."""

    bait = "array_constraints_conformance_bait"
    wanted = False

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        self.wanted |= fullname == self.bait


@check("CFG-12")
def a_config_never_passes_for_another_librarys(trial: Trial) -> int:
    serialize = trial.subject.function("serialize")
    applied = 0
    for shown, constraint, _ in made(trial):
        config = attempt(shown, serialize, constraint)
        name = f"{config.get('module')}>{trial.constraint}"
        own = config.get("module") not in (None, "keras.constraints")
        own = own and config["class_name"] == config.get("registered_name") == name
        demand(shown, own, "a bare name", f"package>{trial.constraint}", config)
        if trial.constraint not in KERAS:
            applied += 1
            continue
        theirs = attempt(shown, partial(serialize, dialect="keras"), constraint)
        bare = (theirs.get("module"), theirs.get("class_name"))
        right = bare == ("keras.constraints", trial.constraint)
        demand(shown, right, "not Keras's form", "keras.constraints", theirs)
        restored = through_json(trial, shown, constraint, dialect="keras")
        demand(shown, restored == constraint, "an unequal constraint", shown, repr(restored))
        applied += 1
    return applied


def _tensorflow_js(name: str, **config: Any) -> dict[str, Any]:
    return {"className": name, "config": config}


OLDER: dict[str, list[tuple[Any, dict[str, Any]]]] = {
    "MaxNorm": [
        ({"name": "MaxNorm", "m": 3, "axis": 1}, {"max_value": 3, "axis": 1}),
        ("maxnorm", {}),
        ("maxNorm", {}),
        (_tensorflow_js("MaxNorm", maxValue=3, axis=1), {"max_value": 3, "axis": 1}),
        (
            {"class_name": "MaxNorm", "config": {"max_value": math.inf, "axis": 0}},
            {"max_value": math.inf},
        ),
        ({"module": "tf_keras.constraints", "class_name": "MaxNorm", "config": {}}, {}),
    ],
    "MinMaxNorm": [
        (
            {"name": "MinMaxNorm", "low": 0.5, "high": 2, "rate": 1.0, "axis": 0},
            {"min_value": 0.5, "max_value": 2},
        ),
        ("minmaxnorm", {}),
        ("minMaxNorm", {}),
        (
            _tensorflow_js("MinMaxNorm", minValue=0.5, maxValue=2),
            {"min_value": 0.5, "max_value": 2},
        ),
    ],
    "NonNeg": [
        ({"name": "NonNeg"}, {}),
        ("nonneg", {}),
        ("nonNeg", {}),
        (_tensorflow_js("NonNeg"), {}),
    ],
    "UnitNorm": [
        ({"name": "UnitNorm", "axis": 1}, {"axis": 1}),
        ("unitnorm", {}),
        ("unitNorm", {}),
    ],
}


@check("CFG-13")
def older_dialects_are_read(trial: Trial) -> int:
    get, make = trial.subject.function("get"), trial.subject.function(trial.constraint)
    for identifier, given in OLDER[trial.constraint]:
        shown = f"get({identifier!r})"
        found, expected = attempt(shown, get, identifier), make(**given)
        demand(shown, found == expected, "another constraint", repr(expected), repr(found))
    return len(OLDER[trial.constraint])


@check("CFG-14")
def what_cannot_be_restored_is_not_serialised(trial: Trial) -> int:
    base: Any = trial.subject.function("Constraint")
    serialize, deserialize = (trial.subject.function(n) for n in ("serialize", "deserialize"))
    register = trial.subject.function("register")

    class Scale(base):  # type: ignore[misc]
        def __init__(self, k: float) -> None:
            self.k = k

        def __call__(self, w: Any) -> Any:
            return w * self.k

    class Known(Scale):
        def get_config(self) -> dict[str, Any]:
            return {"k": self.k}

    unwritten = "the config of a subclass with arguments and no get_config"
    unknown = "serialize, of a class that is not registered"
    mistakes = [
        (unwritten, Scale(2.0).get_config, TypeError, "", ""),
        (unknown, partial(serialize, Known(2.0)), ValueError, "", ""),
    ]
    refuses(iter(mistakes))
    shown = call("register", {"package": "conformance"})
    attempt(shown, attempt(shown, partial(register, package="conformance")), Known)
    text = json.dumps(attempt(shown, serialize, Known(3.0)), allow_nan=False)
    restored = attempt(text, deserialize, json.loads(text))
    right = type(restored) is Known and restored.k == 3.0
    demand(text, right, "a registered class is not restored", "Known(3.0)", repr(restored))
    return len(mistakes) + 1
