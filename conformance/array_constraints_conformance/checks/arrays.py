"""ARR: shape, dtype, type and memory of arrays are kept; which arrays are accepted."""

from __future__ import annotations

from typing import Any

import numpy as np

from array_constraints_conformance.catalogue import ExactRule, Rule
from array_constraints_conformance.catalogue.entries import EntryRule, inwards
from array_constraints_conformance.checks.registry import check, law
from array_constraints_conformance.checks.shared import agrees, where
from array_constraints_conformance.counterexample import NotApplicable, require, stated
from array_constraints_conformance.libraries import library
from array_constraints_conformance.numerics.axes import rank
from array_constraints_conformance.numerics.bits import same_bits
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case

SHAPES = ((1,), (1, 1), (5, 1), (1, 4, 1), (2, 1, 3, 1), (2, 3, 2, 2), (4, 1, 1, 4))


@check("ARR-1")
def the_shape_is_kept(trial: Trial) -> int:
    applied = 0
    for turn, shape in enumerate(trial.half(SHAPES, len(trial.constraint))):
        for axis in trial.half((0, -1), turn):
            rule = trial.rules[turn % len(trial.rules)].along(axis).placed(shape)
            if len(shape) < rank(rule.axis) or not rule.suits(shape):
                continue
            w = (np.arange(1.0, 1 + np.prod(shape)) - 3).reshape(shape)
            w = w.astype(trial.formats[turn % len(trial.formats)].dtype)
            got = tuple(trial.calls.call(rule, trial.library.array(w)).shape)
            shown = {"constraint": str(rule), "dtype": w.dtype.name, "input": w}
            require(got == shape, "the shape changed", expected=shape, got=got, **shown)
            applied += 1
    return applied


@law("ARR-2")
def the_dtype_is_kept(seen: Observation) -> int:
    dtype = seen.calls.library.dtype(seen.output)
    if dtype != seen.w.dtype.name:
        seen.fail(None, "the dtype changed", seen.w.dtype.name, dtype)
    return 1


@law("ARR-3")
def the_array_type_and_the_device_are_kept(seen: Observation) -> int:
    made = seen.calls.library.array(seen.w)
    for kept in (seen.calls.library.type_of, seen.calls.library.device):
        if kept(seen.output) != kept(made):
            seen.fail(None, "the array type or device changed", kept(made), kept(seen.output))
    return 1


@law("ARR-4")
def the_input_is_untouched(seen: Observation) -> int:
    calls = seen.calls
    x = calls.library.array(seen.w)
    calls.library.numpy(calls.call(seen.rule, x))
    after = seen.slices(calls.library.numpy(x))
    for i in where(~same_bits(seen.before.rows, after.rows)):
        seen.fail(i, "the input was modified", seen.before.rows[i], after.rows[i])
    return 1


@check("ARR-5")
def read_only_input_is_accepted(trial: Trial) -> int:
    applied = 0
    for case in trial.samples:
        w = np.broadcast_to(case.w[:1], case.w.shape)
        seen = trial.observe(Case(np.ascontiguousarray(w), case.rule))
        result = trial.calls.call(case.rule, trial.library.read_only(seen.w))
        rows = seen.slices(trial.library.numpy(result)).rows
        applied += agrees(seen, rows, "an array that cannot be written gives another result")
    return applied


@check("ARR-6")
def the_memory_order_does_not_matter(trial: Trial) -> int:
    applied = 0
    long = trial.long_cases if "sliced constraints" in trial.rule.traits else []
    for case in [*trial.cases, *long]:
        seen = trial.observe(case)
        for name, x in trial.library.layouts(case.w).items():
            result = trial.calls.result(case, trial.calls.call(case.rule, x))
            rows = seen.slices(result).rows
            applied += agrees(seen, rows, f"the result differs for an array: {name}")
    return applied


@check("ARR-13")
def the_byte_order_is_kept(trial: Trial) -> int:
    applied = 0
    for case in trial.samples:
        for x in trial.library.byte_orders(case.w):
            result = trial.calls.call(case.rule, x)
            shown = {"constraint": str(case.rule), "dtype": str(x.dtype), "input": case.w}
            kept = result.dtype == x.dtype
            require(kept, "another byte order", expected=x.dtype, got=result.dtype, **shown)
            applied += 1
    return applied


@check("ARR-7")
def empty_arrays_come_back_empty(trial: Trial) -> int:
    applied = 0
    for turn, fmt in enumerate(trial.formats):
        for shape in trial.half(((0, 3), (3, 0), (0,), (2, 0, 3), (1, 0, 2, 1)), turn):
            w = np.zeros(shape, fmt.dtype)
            rule = trial.rule.along(0).placed(shape)
            if len(shape) < rank(rule.axis) or not rule.suits(shape):
                continue
            result = trial.calls.image(rule, w)
            details = {"constraint": str(rule), "input": f"an array of shape {shape}"}
            kept = result.shape == shape
            require(kept, "an empty array changed", expected=shape, got=result.shape, **details)
            applied += 1
    return applied


@check("ARR-8")
def an_array_without_dimensions_is_one_slice(trial: Trial) -> int:
    applied = 0
    values = (3.0, -3.0, 0.25, 1.0, 0.0, np.nan)
    for turn, (rule, fmt) in enumerate(trial.half(trial.pairs, len(trial.constraint) + 1)):
        whole = rule.along(None).placed((1,))
        none = rule.along(None).placed(())
        for value in trial.half(values, turn):
            w = np.asarray(value, dtype=fmt.dtype)
            seen = trial.observe(Case(w.reshape(1), whole))
            result = trial.calls.image(none, w)
            if result.shape != ():
                seen.fail(None, "a 0-d array changed its shape", (), result.shape)
            rows = result.reshape(seen.after.rows.shape)
            applied += agrees(seen, rows, "a 0-d array gives another result than (1,)")
    return applied


@check("ARR-9")
def all_forms_of_an_axis_agree(trial: Trial) -> int:
    spellings: list[tuple[Any, Any]] = [
        (-1, 2),
        (-3, 0),
        ((1,), 1),
        ([0], 0),
        ((0, 2), (2, 0)),
        ((-1, 0), (0, 2)),
        ([1, -1], (1, 2)),
        (None, (0, 1, 2)),
    ]
    applied = 0
    chosen = trial.half(spellings, len(trial.constraint))
    for turn, (rule, fmt) in enumerate(trial.pairs):
        rng = np.random.default_rng(trial.seed)
        w = (rng.standard_normal((3, 2, 4)) * 2).astype(fmt.dtype)
        for given, plain in chosen[turn :: len(trial.pairs) if trial.profile.quick else 1]:
            if not rule.along(plain).suits(w.shape):
                continue
            seen = trial.observe(Case(w, rule.along(plain).placed(w.shape)))
            result = trial.calls.image(rule.along(given).placed(w.shape), w)
            rows = seen.slices(result).rows
            applied += agrees(seen, rows, f"axis={given!r} gives another result than {plain!r}")
    return applied


@check("ARR-10")
def libraries_agree(trial: Trial) -> int:
    numpy = Trial(trial.subject, trial.constraint, library("numpy"), trial.profile, trial.seed)
    applied = 0
    for case in trial.cases:
        seen = trial.observe(case)
        theirs = _on_numpy(numpy, trial, case.rule, case.w)
        rows, chosen = seen.slices(theirs).rows, where(~seen.flushed)
        applied += agrees(seen, rows, "NumPy gives another result", chosen)
    return applied


def _on_numpy(numpy: Trial, trial: Trial, rule: Rule, w: np.ndarray) -> np.ndarray:
    """Return the result on NumPy; raise :class:`NotApplicable` where that is not accepted."""
    try:
        result = numpy.calls.constraint_of(rule)(w)
    except Exception as error:
        raise stated(
            NotApplicable(f"{trial.subject.name} takes no NumPy arrays: {error}")
        ) from error
    if not numpy.library.is_own(result):
        raise stated(NotApplicable(f"{trial.subject.name} makes no NumPy arrays of them"))
    return np.asarray(result)


@check("ARR-11")
def chunks_do_not_matter(trial: Trial) -> int:
    applied = 0
    for turn, case in enumerate(trial.cases):
        seen = trial.observe(case)
        thirds, *others = chunkings(case.w.shape)
        for chunks in [thirds, *(others[turn % 2 :: 2] if trial.slow else others)]:
            x = trial.library.chunked(case.w, chunks)  # type: ignore[attr-defined]
            result = trial.calls.result(case, trial.calls.call(case.rule, x))
            rows = seen.slices(result).rows
            applied += agrees(seen, rows, f"chunks of {chunks} give another result")
    return applied


def chunkings(shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], ...]]:
    """Return thirds, the whole array, and chunks of which the first has one entry."""
    whole = tuple((n,) for n in shape)
    thirds = tuple(
        (1, 1, n - 2) if 2 < n < 9 else (n - n // 3, n // 3) if n > 1 else (n,) for n in shape
    )
    uneven = tuple((1, n - 1) if n > 1 else (n,) for n in shape)
    return [thirds, whole, uneven]


@check("ARR-12")
def integers_are_kept(trial: Trial) -> int:
    applied = 0
    for name in ("int8", "int16", "int32", "uint8"):
        if not hasattr(trial.library.xp, name):
            continue
        info = np.iinfo(name)
        w = np.asarray(
            [[info.min, 0, 1, 2], [info.max, info.min // 2, 5, 0], [7, 1, 1, 1]], dtype=name
        )
        rule = trial.rule.along(-1).placed(w.shape)
        expected = _image(rule, w)
        if expected is None:
            continue
        result = trial.calls.image(rule, w)
        same = result.dtype == w.dtype and (result == expected).all()
        shown = {"input": w, "expected": expected, "got": result, "dtype": name}
        require(same, "integers are not kept", constraint=str(rule), **shown)
        applied += 1
    return applied


def _image(rule: Rule, w: np.ndarray) -> np.ndarray | None:
    """Return the nearest integers; None where no integer is allowed."""
    if not isinstance(rule, ExactRule):
        return None
    if isinstance(rule, EntryRule):
        low, high = inwards(rule.lower, rule.upper, w.dtype)
        return rule.image(w) if low <= high else None
    return rule.image(w)


@check("ARR-14")
def a_later_call_leaves_an_earlier_result_alone(trial: Trial) -> int:
    rng = np.random.default_rng(trial.seed)
    for case in trial.samples:
        result = trial.calls.call(case.rule, trial.library.array(case.w))
        before = trial.calls.result(case, result).copy()
        other = rng.uniform(-3, 3, case.w.shape).astype(case.w.dtype)
        trial.calls.image(case.rule, other)
        seen, after = trial.observe(case), trial.calls.result(case, result)
        rows = (seen.slices(array).rows for array in (before, after))
        same = same_bits(*rows)
        message = "a call with another weight changed this result"
        seen.require(same.all(), None, message, before)
    return len(trial.samples)
