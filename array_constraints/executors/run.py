"""Run a form on a weight: choose the executor, keep what was found out, deliver the result."""

from __future__ import annotations

from typing import Any

from array_constraints import libraries, parameters, reductions, state
from array_constraints.executors import acceptance, in_memory, whole
from array_constraints.executors.change import NOTHING, Rescaler


def run(form: Any, w: Any, copy: bool | None) -> Any:
    """Return the allowed weight for ``w``, new or in place as ``copy`` asks."""
    plan = _PLANS.get((id(form), type(w), w.dtype, w.shape)) if _is_known(w) else None
    if plan is not None and plan.fits(w, copy):
        result = plan.quiet_run(plan, w, copy)
        return result if copy is None else deliver(w, result, copy, plan.library)
    w, library = acceptance.accepted_by(form, w, copy)
    if 0 in w.shape:
        result = w
    elif library.at_hand(w):
        result = library.quietly(_run_at_hand, form, w, copy, library)
    else:
        result = library.quietly(library.run, whole.project, form, w)
    return deliver(w, result, copy, library)


def violation(form: Any, w: Any) -> Any:
    """Return the violation of ``w``, by the measure that a call makes."""
    w, library = acceptance.accepted_by(form, w)
    if library.at_hand(w):
        return library.quietly(in_memory.violation, form, w, library)
    return library.quietly(library.run, whole.violation, form, w)


def distance(w: Any, image: Any, library: Any) -> Any:
    """Return how far each entry of ``w`` is from its image, 0 where they are equal."""
    return library.run(_distance, None, (w, image))


def _distance(form: None, pair: tuple[Any, Any], xp: Any) -> Any:
    w, image = pair
    library = libraries.of_namespace(xp)
    same = xp.equal(w, image)  # two infinities, too
    w, image = (xp.where(same, xp.zeros_like(w), x) for x in (w, image))
    return library.zero_dimensional(xp.abs(library.accumulated(w) - library.accumulated(image)))


def deliver(w: Any, result: Any, copy: bool | None, library: Any) -> Any:
    """Return ``result`` as a new array, or written into ``w``, as ``copy`` asks."""
    if copy is False:
        if result is not w:
            library.write(w, result)
        return w
    if copy is True:  # the result may be a view of w
        return library.copied(result)
    return result


class Plan:
    """A form bound to arrays of one type, dtype and shape, each of which is one block."""

    __slots__ = ("axes", "form", "library", "quiet_run", "rescaler", "sum_of")

    def __init__(self, form: Any, w: Any, axes: tuple[int, ...], rescaler: Rescaler) -> None:
        self.form, self.axes = form, axes  # which keeps the form alive, and so its id
        self.rescaler, self.library = rescaler, rescaler.library
        self.quiet_run = self.library.quiet(_run_plan)
        power = reductions.power_of(form)
        self.sum_of = None if power is None else self.library.bound_sum(power, w, axes)

    def fits(self, w: Any, copy: bool | None) -> bool:
        """Whether ``w`` may be run so; else the usual way says what is wrong, if anything."""
        library = self.library
        if not (library.at_hand_by_type or library.at_hand(w)):
            return False
        if library.memory_order(w) is not None:
            return False
        return copy is None or copy is True or (copy is False and not library.unwritable(w))


def _run_plan(plan: Plan, w: Any, copy: bool | None) -> Any:
    change = None if plan.sum_of is None else plan.rescaler.change_of(plan.sum_of(w), None)
    if change is NOTHING:
        return w
    if change is None or change.applies:
        change = plan.rescaler.change(plan.form.measure(w, plan.axes, plan.library.xp))
    return in_memory.delivered(change, w, plan.axes, copy)


_PLANS: dict[Any, Plan] = {}
_MOST_PLANS = 4096  # forms kept alive, 1 KiB each
_PLANNED: dict[type, Any] = {}
"""The libraries of the types of arrays for which there are plans."""


def _is_known(w: Any) -> bool:
    """Whether there are plans for arrays of the type of ``w``, and they may be looked up."""
    library = _PLANNED.get(type(w))
    return library is not None and library.is_eager(w)


def _run_at_hand(form: Any, w: Any, copy: bool | None, library: Any) -> Any:
    """Run a form on an array at hand; keep the plan of one that never changes."""
    if form.needs != "sizes" or in_memory.entries_of_block(w, library) is not None:
        return in_memory.run(form, w, copy, library)
    axes = parameters.axes_of(form, w)
    measure = form.measure(w, axes, library.xp)
    rescaler = Rescaler(form, measure, library)
    if library.memory_order(w) is None and _never_changes(form):
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        _PLANS[id(form), type(w), w.dtype, w.shape] = Plan(form, w, axes, rescaler)
        _PLANNED[type(w)] = library
    return in_memory.delivered(rescaler.change(measure), w, axes, copy)


def _never_changes(form: Any) -> bool:
    """Whether a form keeps its values, and its class is final: nobody overrides a method."""
    return bool(vars(type(form)).get("__final__", False)) and state.state_of(form) is not None
