"""Plans: what follows from a form and the dtype and shape of an array, kept for the next call.

For 64 entries that is half of the time of a call.
"""

from __future__ import annotations

from typing import Any

from array_constraints import parameters, reductions
from array_constraints.executors import in_memory
from array_constraints.executors.change import NOTHING, Rescaler
from array_constraints.libraries import state
from array_constraints.numerics import subnormals

_PLANS: dict[Any, Plan] = {}
_MOST = 4096  # plans, which keep their forms alive: 1 KiB each
_LIBRARY_OF_TYPE: dict[type, Any] = {}
"""The libraries of the types of arrays for which there are plans."""


class Plan:
    """A form bound to arrays of one type, dtype and shape, each of which is one block."""

    __slots__ = ("axes", "form", "library", "quiet_run", "rescaler", "sum_of")

    def __init__(self, form: Any, w: Any, axes: tuple[int, ...], rescaler: Rescaler) -> None:
        self.form, self.axes = form, axes  # which keeps the form alive, and so its id
        self.rescaler, self.library = rescaler, rescaler.library
        self.quiet_run = self.library.quiet(_run)
        power = reductions.power_of(form)
        self.sum_of = None if power is None else self.library.bound_sum(power, w, axes)

    def fits(self, w: Any, copy: bool | None) -> bool:
        """Whether ``w`` may be run so; else the usual way says what is wrong, if anything."""
        library = self.library
        if not (library.at_hand_by_type or library.at_hand(w)):
            return False
        if library.memory_order(w) is not None or subnormals.flushed():
            return False
        return copy is None or copy is True or (copy is False and not library.unwritable(w))


def _run(plan: Plan, w: Any, copy: bool | None) -> Any:
    library = plan.library
    if plan.sum_of is None:
        measure = in_memory.measured(plan.form, w, plan.axes, copy, library)
        change = plan.rescaler.change(measure)
    else:
        total = library.sparingly(plan.sum_of, w) if copy is False else plan.sum_of(w)
        change = plan.rescaler.change_of_sum(total)
    return w if change is NOTHING else in_memory.changed(change, plan.form, w, plan.axes, copy)


def known(form: Any, w: Any) -> Plan | None:
    """Return the plan made for an earlier array of the same type, dtype and shape, if any."""
    library = _LIBRARY_OF_TYPE.get(type(w))
    if library is None or not library.is_eager(w):
        return None
    return _PLANS.get((id(form), type(w), w.dtype, w.shape))


def run_first(form: Any, w: Any, copy: bool | None, library: Any) -> Any:
    """Run a form on an array at hand; keep the plan of one that never changes."""
    if form.needs != "sizes" or in_memory.entries_of_block(w, library) is not None:
        return in_memory.run(form, w, copy, library)
    axes = parameters.axes_of(form, w)
    measure = in_memory.measured(form, w, axes, copy, library)
    rescaler = Rescaler(form, measure, library)
    if library.memory_order(w) is None and _never_changes(form):
        if len(_PLANS) >= _MOST:
            _PLANS.clear()
        _PLANS[id(form), type(w), w.dtype, w.shape] = Plan(form, w, axes, rescaler)
        _LIBRARY_OF_TYPE[type(w)] = library
    return in_memory.changed(rescaler.change(measure), form, w, axes, copy)


def _never_changes(form: Any) -> bool:
    """Whether a form keeps its values, and its class is final: nobody overrides a method."""
    return bool(vars(type(form)).get("__final__", False)) and state.state_of(form) is not None
