"""One constraint on one library: its calls, each made once, and what the laws see of them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import numpy as np

from array_constraints_conformance import strategies
from array_constraints_conformance.formats import FORMATS, Format, format_of
from array_constraints_conformance.libraries import Library
from array_constraints_conformance.oracles import Slices
from array_constraints_conformance.rules import MembershipRule, Rule
from array_constraints_conformance.strategies import Case
from array_constraints_conformance.subject import Subject
from array_constraints_conformance.verdict import (
    Counterexample,
    NotProvided,
    Refused,
    RequirementNotMet,
    text,
)

_KEPT = 3000  # observations: the draws of one constraint, so that each call is made once


@dataclass(frozen=True)
class Profile:
    """How thoroughly to look."""

    name: str
    examples: int
    rounds: int
    rules_per_cell: int
    repetitions: int
    log_length: int

    @property
    def quick(self) -> bool:
        return self.name == "quick"


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quick", 12, 1, 1, 100, 16),
        Profile("default", 40, 1, 2, 1000, 16),
        Profile("thorough", 500, 10, 99, 1000, 20),
    )
}


@dataclass
class Trial:
    """A constraint of a subject, on a library, with a profile and a seed."""

    subject: Subject
    constraint: str
    library: Library
    profile: Profile = PROFILES["default"]
    seed: int = 0
    formats: Sequence[Format] = ()
    _made: dict[str, Any] = field(default_factory=dict)
    _seen: dict[Any, Observation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.formats:
            self.formats = [FORMATS[name] for name in self.library.dtypes]

    @cached_property
    def rules(self) -> list[Rule]:
        return self.subject.entries[self.constraint].rules()

    @property
    def lazy(self) -> bool:
        return "lazy" in self.library.traits

    @property
    def rule(self) -> Rule:
        return self.rules[0]

    def constraint_of(self, rule: Rule) -> Any:
        """Return the constraint of a rule, made once."""
        if rule.key not in self._made:
            self._made[rule.key] = attempt(str(rule), self.subject.make, rule)
        return self._made[rule.key]

    def map_of(self, rule: Rule) -> Callable[[Any], Any]:
        """Return the constraint as this mode of the library runs it."""
        key = f"map of {rule.key}"
        if key not in self._made:
            self._made[key] = self.library.wrap(self.constraint_of(rule))
        return self._made[key]  # type: ignore[no-any-return]

    def violation_of(self, rule: Rule) -> Callable[[Any], Any]:
        """Return the constraint's violation as this mode of the library runs it."""
        key = f"violation of {rule.key}"
        if key not in self._made:
            self._made[key] = self.library.wrap(self.method(rule, "violation"))
        return self._made[key]  # type: ignore[no-any-return]

    def method(self, rule: Rule, name: str) -> Callable[..., Any]:
        """Return a method of the constraint, or raise :class:`NotProvided`."""
        found = getattr(self.constraint_of(rule), name, None)
        if found is None:
            raise NotProvided(f"{rule.name} has no {name}")
        return found  # type: ignore[no-any-return]

    def accepts(self, rule: Rule, argument: str) -> None:
        """Raise :class:`NotProvided` unless a call takes the argument."""
        try:
            taken = inspect.signature(self.constraint_of(rule)).parameters
        except (TypeError, ValueError):
            taken = {}  # type: ignore[assignment]
        if argument not in taken:
            raise NotProvided(f"{rule.name} takes no {argument}=")

    def call(self, rule: Rule, x: Any, **options: Any) -> Any:
        """Call the constraint on an array of the library."""
        run = self.constraint_of(rule) if options else self.map_of(rule)
        return attempt(str(rule), partial(run, **options), x, w=lambda: self.numpy(x))

    def image(self, rule: Rule, w: np.ndarray, **options: Any) -> np.ndarray:
        """Return what the constraint makes of ``w``."""
        result = self.call(rule, self.library.array(w), **options)
        return attempt(str(rule), self.library.numpy, result, w=w)

    def numpy(self, x: Any) -> Any:
        return self.library.numpy(x) if self.library.is_own(x) else repr(x)[:200]

    def observe(self, case: Case) -> Observation:
        """Return what is seen of a case; calls that were made for it are not repeated."""
        if len(self._seen) > _KEPT:
            self._seen.clear()
        if case.key not in self._seen:
            self._seen[case.key] = Observation(self, case)
        return self._seen[case.key]

    @cached_property
    def samples(self) -> list[Case]:
        """One deck for each dtype and rule."""
        layouts = strategies.layouts_for(self.rule, True)
        layout = layouts[min(1, len(layouts) - 1)]
        return [
            case
            for rule, form in self.pairs
            for case in strategies.deck(layout, rule, form, self.seed)
        ]

    @cached_property
    def pairs(self) -> list[tuple[Rule, Format]]:
        """Every rule in every dtype; in the quick profile, each at least once."""
        return self.paired(self.rules)

    def paired(self, rules: Sequence[Rule]) -> list[tuple[Rule, Format]]:
        if not self.profile.quick:
            return [(rule, form) for rule in rules for form in self.formats]
        turns = range(max(len(rules), len(self.formats)) if rules else 0)
        return [(rules[i % len(rules)], self.formats[i % len(self.formats)]) for i in turns]

    @cached_property
    def pools(self) -> list[Observation]:
        """Whole weights of one shape and dtype, seen as the slices of one, to be compared."""
        groups: dict[Any, list[Observation]] = {}
        for case in self.cases:
            if isinstance(case.rule, MembershipRule) and case.rule.axis is None:
                key = (case.w.shape, case.w.dtype.name)
                groups.setdefault(key, []).append(self.observe(case))
        return [Pool(group) for group in groups.values()]

    @cached_property
    def cases(self) -> list[Case]:
        """The decks: a slice of every kind, in every layout and dtype."""
        found: list[Case] = []
        sparse = self.profile.quick and self.library.slow
        for turn in range(self.profile.rounds):
            for i, layout in enumerate(strategies.layouts_for(self.rule, self.profile.quick)):
                for j, form in enumerate(self.formats):
                    if sparse and (i + j) % 2:
                        continue
                    for k in range(min(self.profile.rules_per_cell, len(self.rules))):
                        rule = self.rules[(i + j + k) % len(self.rules)]
                        seed = self.seed + 1000 * turn
                        found += strategies.deck(layout, rule, form, seed, sparse)
        return found


def attempt(constraint: str, run: Callable[..., Any], *arguments: Any, w: Any = "") -> Any:
    """Run code of the implementation; what it raises becomes its counterexample.

    ``w`` is the weight to show then, or a function that returns it.
    """
    try:
        return run(*arguments)
    except (RequirementNotMet, Refused, NotProvided):
        raise
    except (Exception, SystemExit) as error:
        message = f"raised {type(error).__name__}: {error}"[:500]
        shown = w() if callable(w) else w
        dtype = str(shown.dtype) if isinstance(shown, np.ndarray) else None
        name = type(error).__name__
        details = Counterexample(message, constraint, dtype, text(shown), "a result", name)
        raise Refused(error, details) from error


class Observation:
    """A case, and what the implementation made of it; each call is made when first needed."""

    def __init__(self, trial: Trial, case: Case) -> None:
        self.trial, self.w, self.rule = trial, case.w, case.rule
        self.axes = case.rule.axes(case.w.ndim)
        self.flushes = trial.library.flushes(format_of(case.w.dtype).name)

    @cached_property
    def output(self) -> Any:
        return self.trial.call(self.rule, self.trial.library.array(self.w))

    @cached_property
    def result(self) -> np.ndarray:
        found = attempt(str(self.rule), self.trial.library.numpy, self.output, w=self.w)
        if not isinstance(found, np.ndarray) or found.shape != self.w.shape:
            shape = getattr(found, "shape", None)
            self.fail(None, f"the shape {self.w.shape} became {shape}", self.w.shape, shape)
        return found

    @cached_property
    def form(self) -> Format:
        """The format of the weight, or that of the result where it is narrower: see ARR-2."""
        formats = (format_of(self.w.dtype), format_of(self.result.dtype))
        return min(formats, key=lambda form: form.digits)

    @cached_property
    def again(self) -> np.ndarray:
        """The constraint applied to its own result."""
        twice = self.trial.call(self.rule, self.output)
        return attempt(str(self.rule), self.trial.library.numpy, twice, w=self.w)

    @cached_property
    def violation(self) -> np.ndarray:
        """The violation of the input, in its own shape and dtype."""
        return self._violation(self.trial.library.array(self.w))

    @cached_property
    def remaining(self) -> np.ndarray:
        """The violation of the result."""
        return self._violation(self.output)

    def _violation(self, x: Any) -> np.ndarray:
        run, numpy = self.trial.violation_of(self.rule), self.trial.library.numpy
        return attempt(str(self.rule), lambda: numpy(run(x)), w=self.w)

    @cached_property
    def before(self) -> Slices:
        return Slices(self.w, self.axes)

    @cached_property
    def after(self) -> Slices:
        return Slices(self.result, self.axes)

    @property
    def n(self) -> int:
        return self.before.length

    @property
    def underflow(self) -> Fraction:
        """What entries that become subnormal, or zero for that, add to a distance."""
        added = self.form.underflow(self.n)
        return added / self.form.u if self.flushes else added

    @cached_property
    def zero(self) -> np.ndarray:
        """Slices that are zero, or that the library counts as zero."""
        least = self.form.smallest if self.flushes else 0.0
        return self.before.peak < least if least else self.before.peak == 0

    @cached_property
    def flushed(self) -> np.ndarray:
        """Slices with an entry that the library counts as zero though it is not."""
        values = np.abs(self.before.values)
        return self.flushes & ((values > 0) & (values < self.form.smallest)).any(axis=1)

    @cached_property
    def directed(self) -> np.ndarray:
        """Finite slices with a direction."""
        return self.before.finite & ~self.zero

    @cached_property
    def ordinary(self) -> np.ndarray:
        """Finite slices that no square and no sum takes out of the range of any format."""
        return self.before.finite & (self.before.peak >= 1 / 64) & (self.before.peak <= 16)

    @cached_property
    def same(self) -> np.ndarray:
        """Slices whose result has the bits of the input."""
        return same_bits(self.before.rows, self.after.rows, self.flushes)

    @cached_property
    def interior(self) -> np.ndarray:
        """Finite slices that are allowed by more than the band, or the custom tolerance."""
        n, custom = self.n, isinstance(self.rule, MembershipRule)
        slack = self.form.tolerance(n) if custom else self.form.band(n)
        return self.before.finite & self.rule.holds(self.before, -slack)

    def fail(self, i: int | None, message: str, expected: Any, got: Any = None) -> None:
        """Raise with slice ``i`` as the counterexample; all of the weight where it is None."""
        shown = self.w if i is None else self.before.rows[i]
        got = self.after.rows[i] if got is None and i is not None else got
        details = Counterexample(
            message, str(self.rule), self.w.dtype.name, text(shown), text(expected), text(got)
        )
        raise RequirementNotMet(details)

    def require(self, condition: object, i: int | None, message: str, expected: Any) -> None:
        """Raise with slice ``i`` as the counterexample unless ``condition`` holds."""
        if not condition:
            self.fail(i, message, expected)


class Pool(Observation):
    """Several observations of whole weights, seen as the slices of one."""

    def __init__(self, group: Sequence[Observation]) -> None:
        stacked = Case(np.stack([seen.w for seen in group]), group[0].rule)
        super().__init__(group[0].trial, stacked)
        self.axes = tuple(range(1, self.w.ndim))
        self.result = np.stack([seen.result for seen in group])


def same_bits(a: np.ndarray, b: np.ndarray, flushes: bool = False) -> np.ndarray:
    """Whether rows have the same bits: NaN is NaN, and what is flushed may be zero."""
    if a.dtype != b.dtype:
        return np.zeros(len(a), dtype=bool)
    bits = np.dtype(f"i{a.dtype.itemsize}")
    x, y = (np.ascontiguousarray(v).view(bits) for v in (a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ml_dtypes warns of NaN
        same = (x == y) | (np.isnan(a) & np.isnan(b))
        if flushes:
            tiny = format_of(a.dtype).smallest
            same |= (np.abs(a.astype(np.float64)) < tiny) & (b.astype(np.float64) == 0)
    return same.all(axis=1)


def same_values(a: np.ndarray, b: np.ndarray, flushes: bool = False) -> np.ndarray:
    """Whether rows have equal entries in the dtype of ``b``: 0 is -0, and NaN is NaN."""
    with np.errstate(over="ignore"):
        x, y = a.astype(b.dtype).astype(np.float64), b.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    if flushes:
        same |= (np.abs(x) < format_of(a.dtype).smallest) & (y == 0)
    return same.all(axis=1)


def relative(x: Fraction) -> str:
    """Return a rational number for people."""
    return f"{float(x):.6g}"
