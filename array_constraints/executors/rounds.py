"""Rounds of measuring: a form whose slices need more than one asks for the next by a form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_constraints.libraries.rounds import not_done
from array_constraints.typing import Namespace


def last(
    form: Any, measure: Any, measured: Callable[[Any], Any], xp: Namespace
) -> tuple[Any, Any]:
    """Return the form of the last round and its measure, given those of the first.

    ``measured`` returns the measure of the same slices under another form.
    """
    first, rounds = form, 1
    if first.rounds > 1:
        while (following := form.next(measure, xp)) is not None:
            if rounds == first.rounds:
                raise not_done(first)
            form, measure, rounds = following, measured(following), rounds + 1
    return form, measure
