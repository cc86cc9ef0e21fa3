"""What checkers refuse, and what raises when it is run, too: see ``test_types.py``.

Each line says which error it is; a checker that finds none there says so.
"""

from __future__ import annotations

import numpy as np

from array_constraints import Constraint, MaxNorm, MinMaxNorm, UnitNorm, apply, get, serialize
from array_constraints.rules import Rule, Rules


def a_number_names_no_constraint() -> None:
    get(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def a_text_is_no_bound() -> None:
    MaxNorm("two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def none_is_no_bound() -> None:
    MaxNorm(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_text_is_no_bound_of_an_annulus() -> None:
    MinMaxNorm("0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_float_is_no_axis() -> None:
    UnitNorm(1.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_text_is_no_axis() -> None:
    MaxNorm(axis="outgoing")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_parameter_is_known() -> None:
    MaxNorm(radius=1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def a_field_is_frozen() -> None:
    MaxNorm().axis = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def copy_is_no_text() -> None:
    MaxNorm()(np.ones(2), out=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def apply_takes_the_constraint_first() -> None:
    apply([np.ones(2)], MaxNorm())  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def a_rule_has_a_constraint() -> None:
    Rule("*", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def dimensions_are_numbers() -> None:
    Rule("*", None, ndim="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def rules_are_no_text() -> None:
    Rules("*")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_config_is_made_of_a_constraint() -> None:
    serialize("max_norm")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def the_base_takes_no_arguments() -> None:
    Constraint(2.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
