"""Rounds of measuring as objects, which lazy arrays hold until they are computed."""

from __future__ import annotations

from typing import Any, NamedTuple

from array_constraints.typing import Namespace, name_of


class Round(NamedTuple):
    """A form and the measure of its slices: in one chunk, in some, or in all of them."""

    form: Any
    measure: Any

    def merged(self, other: Round, xp: Namespace) -> Round:
        """Return this round of the slices in two blocks taken together."""
        return Round(self.form, self.form.merge(self.measure, other.measure, xp))

    def begun(self, xp: Namespace) -> State:
        """Return the state after this round of whole slices, the first one."""
        return State(self, self, self.form.next(self.measure, xp))


class State(NamedTuple):
    """The first round, the last so far, and the form of the next; None where all is done."""

    first: Round
    last: Round
    following: Any

    def followed(self, last: Round, xp: Namespace) -> State:
        """Return the state after another round of whole slices."""
        return State(self.first, last, last.form.next(last.measure, xp))

    def check_done(self) -> None:
        """Raise RuntimeError where the rounds of a lazy array were not enough."""
        if self.following is not None:
            raise not_done(self.first.form)


def not_done(form: Any) -> RuntimeError:
    """Return the error of a form whose slices ask for more rounds than it says."""
    return RuntimeError(
        f"{name_of(type(form))}: slices are not done after {form.rounds} rounds of measuring"
    )
