"""The outcomes of a requirement: their names, symbols and meanings, the worst first."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """An outcome of a result, as the reports show it."""

    name: str
    symbol: str
    meaning: str


# Worst first: a cell of the matrix shows the first that occurs in it.
OUTCOMES = (
    Outcome("not met", "✗", "a counterexample was found"),
    Outcome("gap closed", "▲", "listed as a known gap, yet the law held: strike it off"),
    Outcome("untested", "?", "the law never came to be put to the test"),
    Outcome("known gap", "△", "not met, and listed as such with a reason"),
    Outcome("met", "✓", "no counterexample was found"),
    Outcome("not provided", "○", "the subject does not offer what the requirement is about"),
    Outcome("not applicable", "⊘", "the requirement is not about this constraint or library"),
)
ORDER = tuple(outcome.name for outcome in OUTCOMES)
SYMBOLS = {outcome.name: outcome.symbol for outcome in OUTCOMES}
FAILURES = ORDER[:2]  # what makes a verdict "not met", and the exit status 1
