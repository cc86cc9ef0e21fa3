"""Observations of one weight: each call is made once, whatever the number of laws."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from array_constraints_conformance.counterexample import (
    Counterexample,
    RequirementNotMet,
    as_python,
    attempt,
    stated,
)
from array_constraints_conformance.numerics.bits import same_bits
from array_constraints_conformance.numerics.exact import Slices
from array_constraints_conformance.numerics.formats import FORMATS, Format, format_of
from array_constraints_conformance.trial.calls import Calls
from array_constraints_conformance.weights.case import Case


class Observation:
    """A case and its results; each call is made when a law first needs it."""

    def __init__(self, calls: Calls, case: Case) -> None:
        self.calls, self.w, self.rule = calls, case.w, case.rule
        self.axes, self.case = case.rule.axes(case.w.ndim), case
        self.flushes = calls.library.flushes(format_of(case.w.dtype).name)

    @cached_property
    def output(self) -> Any:
        found = self.calls.call(self.rule, self.calls.library.array(self.w))
        if not self.calls.lazy:  # at once: the implementation may write into it again
            self._bits = self.calls.result(self.case, found).copy()
        return found

    @cached_property
    def _bits(self) -> np.ndarray:
        return self.calls.result(self.case, self.output)

    @cached_property
    def result(self) -> np.ndarray:
        _, found = self.output, self._bits
        if not isinstance(found, np.ndarray) or found.shape != self.w.shape:
            shape = getattr(found, "shape", None)
            self.fail(None, f"the shape {self.w.shape} became {shape}", self.w.shape, shape)
        if found.dtype.kind not in "fiub" and found.dtype.name not in FORMATS:
            self.fail(
                None,
                "the result is no array of real numbers",
                self.w.dtype.name,
                str(found.dtype),
            )
        return found

    @cached_property
    def fmt(self) -> Format:
        """The format of the weight, or that of the result where it is narrower: see ARR-2."""
        formats = (format_of(self.w.dtype), format_of(self.result.dtype))
        return min(formats, key=lambda fmt: fmt.digits)

    @cached_property
    def again(self) -> np.ndarray:
        """The constraint applied to its own result."""
        return self.calls.result(self.case, self.calls.call(self.rule, self.output))

    @cached_property
    def violation(self) -> np.ndarray:
        """The violation of the input, in its own shape and dtype."""
        return self._violation(self.calls.library.array(self.w))

    @cached_property
    def remaining(self) -> np.ndarray:
        """The violation of the result."""
        self.calls.method(self.rule, "violation")  # not provided, whatever the call does
        return self._violation(self.output)

    def _violation(self, x: Any) -> np.ndarray:
        run, numpy = self.calls.violation_of(self.rule), self.calls.library.numpy
        return attempt(str(self.rule), lambda: numpy(run(x)), w=self.w)

    @cached_property
    def before(self) -> Slices:
        return self.case.slices

    @cached_property
    def after(self) -> Slices:
        return self.slices(self.result)

    def slices(self, array: np.ndarray) -> Slices:
        """Return the slices of an array of the weight's shape."""
        return self.rule.slices(array)

    @property
    def n(self) -> int:
        return self.before.length

    @cached_property
    def underflow(self) -> Fraction:
        """The distance that entries add which become subnormal, or zero instead."""
        added = self.fmt.underflow(self.n)
        return added / self.fmt.u if self.flushes else added

    @cached_property
    def zero(self) -> np.ndarray:
        """Slices that are zero, or that the library counts as zero."""
        least = self.fmt.smallest if self.flushes else 0.0
        return self.before.peak < least if least else self.before.peak == 0

    @cached_property
    def flushed(self) -> np.ndarray:
        """Slices with an entry that the library counts as zero though it is not."""
        values = np.abs(self.before.values)
        return self.flushes & ((values > 0) & (values < self.fmt.smallest)).any(axis=1)

    @cached_property
    def directed(self) -> np.ndarray:
        """Finite slices with a direction, by which they can be brought where they belong."""
        return self.rule.directed(self.before, self.zero)

    @cached_property
    def reachable(self) -> np.ndarray:
        """Finite slices whose result is finite: all but those that it would take too far."""
        found: np.ndarray = self.before.finite & (self.directed | self.zero | self.rule.exact)
        return found

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
        return self.rule.interior(self.before, self.fmt, self.underflow)

    def fail(self, i: int | None, message: str, expected: Any, got: Any = None) -> None:
        """Raise with slice ``i`` as the counterexample; all of the weight where it is None."""
        shown = as_python(self.w if i is None else self.before.rows[i])
        if i is not None and len(self.before) > 1:
            shown += f"  # one slice of a weight of shape {self.w.shape}"
        got = self.after.rows[i] if got is None and i is not None else got
        found = as_python(got)
        if getattr(got, "dtype", self.w.dtype) != self.w.dtype:
            found += f"  # {got.dtype}"
        details = Counterexample(
            message, str(self.rule), self.w.dtype.name, shown, as_python(expected), found
        )
        raise stated(RequirementNotMet(details))

    def require(self, condition: object, i: int | None, message: str, expected: Any) -> None:
        """Raise with slice ``i`` as the counterexample unless ``condition`` holds."""
        if not condition:
            self.fail(i, message, expected)


class Pool(Observation):
    """Several observations of whole weights, seen as the slices of one, to compare them."""

    def __init__(self, group: Sequence[Observation]) -> None:
        stacked = Case(np.stack([seen.w for seen in group]), group[0].rule)
        super().__init__(group[0].calls, stacked)
        self.axes = tuple(range(1, self.w.ndim))
        self.before = Slices(self.w, self.axes)
        self.result = np.stack([seen.result for seen in group])

    def slices(self, array: np.ndarray) -> Slices:
        return Slices(array, self.axes)
