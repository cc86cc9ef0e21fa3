"""How the values of options are read."""

from __future__ import annotations

import re

import pytest

from array_constraints.cli.arguments import value_from_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-12", -12),
        ("1e3", 1000.0),
        ("none", None),
        ("None", None),
        ("(12)", 12),
        ("12,34", (12, 34)),
        ("12, 3.5,", (12, 3.5)),
        ("12,34,56", (12, 34, 56)),
        ("(12,34)", (12, 34)),
        ("[ 12 , 34 ]", (12, 34)),
        ("12,", (12,)),
        ("(12,)", (12,)),
    ],
)
def test_values_are_numbers_or_some_of_them_or_none(text, value):
    found = value_from_text(text)
    assert repr(found) == repr(value)  # of the same types, too


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x", "x"),
        ("()", ""),
        (",", ""),
        ("12,,34", ""),
        ("(12,34]", "(12"),
        ("(12", "(12"),
        ("12,x", "x"),
    ],
)
def test_others_are_refused(text, part):
    with pytest.raises(ValueError, match=f"^{re.escape(repr(part))} is not a number$"):
        value_from_text(text)
