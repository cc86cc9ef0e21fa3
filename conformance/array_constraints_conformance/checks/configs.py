"""CFG: configs that give back the constraint, and never another one."""

from __future__ import annotations

import json
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from array_constraints_conformance.checks.errors import raised, refuses
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.rules import CATALOGUE
from array_constraints_conformance.trial import Trial, attempt, same_values
from array_constraints_conformance.verdict import NotProvided, require

ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "MaxNorm": [{}, {"max_value": 3, "axis": (0, 1)}, {"max_value": 0.1, "axis": None}],
    "MinMaxNorm": [{}, {"min_value": 0.25, "max_value": 0.7, "rate": 0.3, "axis": [1, 0]}],
    "NonNeg": [{}],
    "UnitNorm": [{}, {"axis": -1}, {"axis": [0, 1]}],
}
_W = np.asarray([[3.0, -0.3, 0.0], [-4.0, 0.4, 1.0]])


def made(trial: Trial, *more: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield constraints with the text of their call and all of their arguments."""
    make = trial.subject.function(trial.constraint)
    defaults = trial.subject.entries[trial.constraint].defaults
    for given in [*ARGUMENTS[trial.constraint], *more]:
        if set(given) <= set(defaults):
            shown = f"{trial.constraint}({', '.join(f'{k}={v!r}' for k, v in given.items())})"
            yield shown, attempt(shown, lambda given=given: make(**given)), {**defaults, **given}


def config_of(shown: str, constraint: Any) -> dict[str, Any]:
    if not hasattr(constraint, "get_config"):
        raise NotProvided(f"{type(constraint).__name__} has no get_config")
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
    require(type(a) is type(b), "another class", constraint=shown, input=shown, expected=type(a).__name__, got=type(b).__name__)
    one, two = (plain(config_of(shown, c)) for c in (a, b))
    require(one == two, "another config", constraint=shown, input=shown, expected=one, got=two)
    dtype = trial.formats[-1].dtype
    x = trial.library.array(_W.astype(dtype))
    images = [attempt(shown, lambda c=c: trial.library.numpy(c(x))) for c in (a, b)]
    same = same_values(*(image.reshape(1, -1) for image in images)).all()
    require(same, "another result", constraint=shown, input=_W, expected=images[0], got=images[1])


@check("CFG-1")
def names_parameters_and_defaults(trial: Trial) -> int:
    make = trial.subject.function(trial.constraint)
    defaults = trial.subject.entries[trial.constraint].defaults
    ways: list[tuple[str, Callable[[], Any]]] = [
        (f"{trial.constraint}()", make),
        (f"{trial.constraint}(*{tuple(defaults.values())!r})", lambda: make(*defaults.values())),
        (f"{trial.constraint}(**{dict(defaults)!r})", lambda: make(**defaults)),
    ]
    for shown, way in ways:
        config = plain(config_of(shown, attempt(shown, way)))
        require(config == dict(defaults), "another config", constraint=shown, input=shown, expected=dict(defaults), got=config)
    return len(ways)


@check("CFG-2")
def get_config_returns_the_arguments(trial: Trial) -> int:
    applied = 0
    for shown, constraint, given in made(trial):
        config = plain(config_of(shown, constraint))
        expected = plain(given)
        require(config == expected, "not the arguments", constraint=shown, input=shown, expected=expected, got=config)
        applied += 1
    return applied


@check("CFG-3")
def from_config_restores_the_constraint(trial: Trial) -> int:
    applied = 0
    for shown, constraint, _ in made(trial):
        config = config_of(shown, constraint)
        restored = attempt(shown, lambda c=constraint, config=config: type(c).from_config(config))
        same_constraint(trial, shown, constraint, restored)
        applied += 1
    return applied


@check("CFG-4")
def serialisation_survives_json(trial: Trial) -> int:
    serialize, deserialize = (trial.subject.function(n) for n in ("serialize", "deserialize"))
    applied = 0
    for shown, constraint, _ in made(trial):
        text = attempt(shown, lambda c=constraint: json.dumps(serialize(c)))
        restored = attempt(shown, lambda text=text: deserialize(json.loads(text)))
        same_constraint(trial, shown, constraint, restored)
        applied += 1
    for function in (serialize, deserialize):
        none = attempt("None", lambda function=function: function(None))
        require(none is None, "None gave something", input="None", expected="None", got=none)
    return applied


@check("CFG-5")
def get_accepts_every_identifier(trial: Trial) -> int:
    get = trial.subject.function("get")
    require(attempt("get(None)", lambda: get(None)) is None, "get(None)", input="None", expected="None")
    snake = {"MaxNorm": "max_norm", "MinMaxNorm": "min_max_norm", "NonNeg": "non_neg", "UnitNorm": "unit_norm"}
    for name in filter(trial.subject.provides, snake):
        cls = trial.subject.function(name)
        instance = cls()
        for identifier in (name, snake[name], cls, {"class_name": name, "config": {}}):
            shown = f"get({identifier!r})"
            found = attempt(shown, lambda identifier=identifier: get(identifier))
            same_constraint(trial, shown, instance, found)
        kept = attempt(f"get({name}())", lambda instance=instance: get(instance))
        require(kept is instance, "get copied an instance", input=f"{name}()", expected="the instance", got=kept)
    require(get(abs) is abs, "get changed a callable", input="abs", expected="abs", got=get(abs))
    wrong = ("bogus", 3)
    refuses((f"get({w!r})", lambda w=w: get(w), ValueError, "", "") for w in wrong)
    return 1


@check("CFG-6")
def constraints_can_be_pickled(trial: Trial) -> int:
    applied = 0
    for shown, constraint, _ in made(trial):
        copy = attempt(shown, lambda c=constraint: pickle.loads(pickle.dumps(c)))
        same_constraint(trial, shown, constraint, copy)
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
    restored = attempt(shown, lambda: Shift.from_config(Shift(2.0).get_config()))
    image = attempt(shown, lambda: trial.library.numpy(restored(x)))
    require((image == [3, 4]).all(), "a subclass is not restored", input=shown, expected="[3.0, 4.0]", got=image)
    same = attempt("Constraint()", lambda: trial.library.numpy(base()(x)))
    require((same == [1, 2]).all(), "the base is not the identity", input="[1.0, 2.0]", expected="[1.0, 2.0]", got=same)
    return 1


@check("CFG-8")
def configs_of_keras_are_read(trial: Trial) -> int:
    deserialize = trial.subject.function("deserialize")
    applied = 0
    for shown, constraint, given in made(trial):
        config = plain(given)
        forms = (
            {"module": "keras.constraints", "class_name": trial.constraint, "config": config, "registered_name": None},
            {"class_name": trial.constraint, "config": config},
        )
        for form in forms:
            restored = attempt(repr(form), lambda form=form: deserialize(dict(form)))
            same_constraint(trial, shown, constraint, restored)
            applied += 1
    return applied


SCALARS: list[dict[str, Any]] = [
    {"max_value": math.inf},
    {"min_value": 0.5, "max_value": math.inf},
    {"max_value": np.float32(0.5), "axis": np.int64(1)},
]


@check("CFG-9")
def configs_are_strict_json(trial: Trial) -> int:
    serialize, deserialize = (trial.subject.function(n) for n in ("serialize", "deserialize"))
    applied = 0
    for shown, constraint, _ in made(trial, *SCALARS):
        text = attempt(shown, lambda c=constraint: json.dumps(serialize(c), allow_nan=False))
        restored = attempt(shown, lambda text=text: deserialize(json.loads(text)))
        require(restored == constraint, "an unequal constraint", constraint=shown, input=text, expected=shown, got=repr(restored))
        applied += 1
    return applied


@check("CFG-10")
def constraints_are_values(trial: Trial) -> int:
    made_once, made_again = list(made(trial, *SCALARS[:2])), list(made(trial, *SCALARS[:2]))
    for (shown, a, given), (_, b, _) in zip(made_once, made_again, strict=True):
        details = {"constraint": shown, "input": shown}
        require(a == b, "equal arguments, unequal constraints", expected="equal", got="unequal", **details)
        hashes = attempt(shown, lambda a=a, b=b: (hash(a), hash(b)))
        require(hashes[0] == hashes[1], "equal constraints, unequal hashes", expected="equal", got=hashes, **details)
        names = {trial.constraint: type(a), "inf": math.inf}
        again = attempt(repr(a), lambda a=a, names=names: eval(repr(a), dict(names)))  # noqa: S307
        require(again == a, "repr gives another constraint", expected=shown, got=repr(a), **details)
        _frozen(shown, a, given)
    for i, (shown, a, _) in enumerate(made_once):
        for _, b, _ in made_once[:i]:
            require(a != b, "unequal arguments, equal constraints", constraint=shown, input=shown, expected="unequal", got=repr(b))
    _lists(trial)
    return len(made_once)


def _frozen(shown: str, constraint: Any, given: dict[str, Any]) -> None:
    for name in given:
        error = raised(lambda name=name: setattr(constraint, name, 1))
        got = "no error" if error is None else repr(error)
        require(isinstance(error, AttributeError), f"{name} can be assigned", constraint=shown, input=shown, expected="AttributeError", got=got)


def _lists(trial: Trial) -> None:
    """Require that an axis given as a list is a value too."""
    if "axis" not in trial.subject.entries[trial.constraint].defaults:
        return
    axes, make = [0, 1], trial.subject.function(trial.constraint)
    constraint, shown = make(axis=axes), f"{trial.constraint}(axis=[0, 1])"
    details = {"constraint": shown, "input": shown}
    require(constraint == make(axis=(0, 1)), "a list of axes is unequal to a tuple", expected="equal", got="unequal", **details)
    axes.append(2)
    kept = constraint == make(axis=(0, 1))
    require(kept, "changing a list that was passed changed the constraint", expected=shown, got=repr(constraint), **details)


@check("CFG-11")
def unknown_and_foreign_names_are_errors(trial: Trial) -> int:
    deserialize = trial.subject.function("deserialize")
    known = next(name for name in CATALOGUE if trial.subject.provides(name))
    foreign: list[dict[str, Any]] = [
        {"class_name": "Bogus", "config": {}},
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "somewhere.else", "class_name": known, "config": {}},
        {"class_name": known, "config": {}, "registered_name": f"other>{known}"},
        {"class_name": f"other>{known}", "config": {}},
        {"module": "array_constraints_conformance_bait", "class_name": "Bait", "config": {}},
        {"class_name": "__lambda__", "config": {"value": "lambda w: w"}},
        {"config": {}},
        {},
    ]
    applied = refuses((repr(form), lambda form=form: deserialize(dict(form)), ValueError, "", "") for form in foreign)
    bait = "antigravity"  # importing it shows
    raised(lambda: deserialize({"module": bait, "class_name": "geohash", "config": {}}))
    require(bait not in sys.modules, "a module was imported by name", input=bait, expected="no import", got=bait)
    return applied + 1


@check("CFG-12")
def a_config_never_passes_for_another_librarys(trial: Trial) -> int:
    serialize, deserialize = (trial.subject.function(n) for n in ("serialize", "deserialize"))
    applied = 0
    for shown, constraint, _ in made(trial):
        config = attempt(shown, lambda c=constraint: serialize(c))
        name = f"{config.get('module')}>{trial.constraint}"
        own = config.get("module") not in (None, "keras.constraints") and config["class_name"] == name
        own = own and config.get("registered_name") == name
        require(own, "a bare name", constraint=shown, input=shown, expected=f"package>{trial.constraint}", got=config)
        theirs = attempt(shown, lambda c=constraint: serialize(c, dialect="keras"))
        bare = (theirs.get("module"), theirs.get("class_name")) == ("keras.constraints", trial.constraint)
        require(bare, "not Keras's form", constraint=shown, input=shown, expected="keras.constraints", got=theirs)
        restored = attempt(shown, lambda theirs=theirs: deserialize(json.loads(json.dumps(theirs))))
        require(restored == constraint, "an unequal constraint", constraint=shown, input=repr(theirs), expected=shown, got=repr(restored))
        applied += 1
    return applied


OLDER: dict[str, list[tuple[Any, dict[str, Any]]]] = {
    "MaxNorm": [
        ({"name": "MaxNorm", "m": 3, "axis": 1}, {"max_value": 3, "axis": 1}),
        ("maxnorm", {}),
        ("maxNorm", {}),
        ({"className": "MaxNorm", "config": {"maxValue": 3, "axis": 1}}, {"max_value": 3, "axis": 1}),
        ({"class_name": "MaxNorm", "config": {"max_value": math.inf, "axis": 0}}, {"max_value": math.inf}),
        ({"module": "tf_keras.constraints", "class_name": "MaxNorm", "config": {}}, {}),
    ],
    "MinMaxNorm": [
        ({"name": "MinMaxNorm", "low": 0.5, "high": 2, "rate": 1.0, "axis": 0}, {"min_value": 0.5, "max_value": 2}),
        ("minmaxnorm", {}),
        ("minMaxNorm", {}),
        ({"className": "MinMaxNorm", "config": {"minValue": 0.5, "maxValue": 2}}, {"min_value": 0.5, "max_value": 2}),
    ],
    "NonNeg": [({"name": "NonNeg"}, {}), ("nonneg", {}), ("nonNeg", {}), ({"className": "NonNeg", "config": {}}, {})],
    "UnitNorm": [({"name": "UnitNorm", "axis": 1}, {"axis": 1}), ("unitnorm", {}), ("unitNorm", {})],
}


@check("CFG-13")
def older_dialects_are_read(trial: Trial) -> int:
    get, make = trial.subject.function("get"), trial.subject.function(trial.constraint)
    for identifier, given in OLDER[trial.constraint]:
        shown = f"get({identifier!r})"
        found = attempt(shown, lambda identifier=identifier: get(identifier))
        expected = make(**given)
        require(found == expected, "another constraint", constraint=shown, input=shown, expected=repr(expected), got=repr(found))
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

    mistakes = [
        ("Scale(2.0).get_config(), which is not defined", Scale(2.0).get_config, TypeError, "", ""),
        ("serialize(Known(2.0)), not registered", lambda: serialize(Known(2.0)), ValueError, "", ""),
    ]
    refuses(iter(mistakes))
    shown = "register(package='conformance')(Known)"
    attempt(shown, lambda: register(package="conformance")(Known))
    text = attempt(shown, lambda: json.dumps(serialize(Known(3.0)), allow_nan=False))
    restored = attempt(text, lambda: deserialize(json.loads(text)))
    right = type(restored) is Known and restored.k == 3.0
    require(right, "a registered class is not restored", input=text, expected="Known(3.0)", got=repr(restored))
    return 3
