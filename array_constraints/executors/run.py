"""Run a form on a weight: choose the executor, deliver the result."""

from __future__ import annotations

from typing import Any

from array_constraints import libraries
from array_constraints.executors import acceptance, in_memory, plans, whole
from array_constraints.executors.needs import EVERYTHING, needs_of
from array_constraints.typing import name_of


def run(form: Any, w: Any, copy: bool | None) -> Any:
    """Return the allowed weight for ``w``, new or in place as ``copy`` asks."""
    plan = plans.known(form, w)
    if plan is not None and plan.fits(w, copy):
        result = plan.quiet_run(plan, w, copy)
        return result if copy is None else deliver(w, result, copy, plan.library)
    if type(w) in libraries.CONTENTS:
        return run(form, acceptance.unboxed(name_of(type(form)), w, copy), copy)
    w, library = acceptance.accepted_by(form, w, copy)
    if 0 in w.shape:
        result = w
    elif library.at_hand(w):
        result = library.quietly(plans.run_first, form, w, copy, library)
    elif form.needs == "regions":  # the calls of its members are run as they are
        result = library.quietly(whole.project, form, w, library.xp)
    else:
        result = library.quietly(library.run, whole.project, form, w)
    return deliver(w, result, copy, library)


def called(constraint: Any, w: Any, copy: bool | None) -> Any:
    """Return the result of any callable for ``w``, new or in place as ``copy`` asks."""
    if needs_of(constraint) != EVERYTHING:
        return constraint(w, copy=copy)
    if copy is None:
        return constraint(w)
    w, library = acceptance.accepted(name_of(type(constraint)), w, copy)
    return deliver(w, constraint(w), copy, library)


def violation(form: Any, w: Any) -> Any:
    """Return the violation of ``w``, by the measure that a call makes."""
    w, library = acceptance.accepted_by(form, w)
    if library.at_hand(w):
        return library.quietly(in_memory.violation, form, w, library)
    if form.needs == "regions":
        return library.quietly(whole.violation, form, w, library.xp)
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
