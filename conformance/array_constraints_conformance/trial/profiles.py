"""Profiles: how many weights a trial draws, and how long a requirement may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """The number of draws, rules and repetitions of a trial, and its limit of time.

    Attributes
    ----------
    examples
        Small weights that Hypothesis draws for each law.
    rounds
        Times that the decks are made, each with another seed.
    rules_per_deck
        Rules that each layout and format is judged with.
    repetitions
        Applications in a row for SET-7.
    log_length
        The binary logarithm of the length of the longest slices, for NUM-2.
    timeout
        Seconds for one requirement of one constraint: many times what it takes.
    shrinks
        Whether a drawn weight that breaks a law is made as small as can be, to be shown.
    """

    name: str
    examples: int
    rounds: int
    rules_per_deck: int
    repetitions: int
    log_length: int
    timeout: float
    shrinks: bool = True

    @property
    def quick(self) -> bool:
        return self.name == "quick"


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quick", 12, 1, 1, 100, 16, 20),
        Profile("default", 40, 1, 2, 1000, 16, 300),
        Profile("thorough", 500, 10, 99, 1000, 20, 3600),
    )
}
