"""Rules read from files: TOML and JSON, what a constraint's parameters are, and mistakes."""

from __future__ import annotations

import json

import pytest

from array_constraints import MaxNorm, MinMaxNorm, UnitNorm
from array_constraints.rules import Rule, Rules, constraint_of, read_rules

TOML = """
[[rules]]
select = "head.*"
constraint = "min_max_norm"
min_value = 0.5
max_value = "inf"
axis = [0, 1]

[[rules]]
select = "*.bias"
constraint = "none"

[[rules]]
select = "*"
constraint = {class_name = "MaxNorm", config = {max_value = 2.0, axis = 1}}
"""
READ = Rules(
    [
        Rule("head.*", MinMaxNorm(0.5, float("inf"), axis=(0, 1))),
        Rule("*.bias", None),
        Rule("*", MaxNorm(2.0, axis=1)),
    ]
)


def test_rules_are_read_from_toml_and_json(tmp_path):
    import tomllib

    (tmp_path / "rules.toml").write_text(TOML)
    (tmp_path / "rules.json").write_text(json.dumps(tomllib.loads(TOML)))
    assert read_rules(tmp_path / "rules.toml") == READ
    assert read_rules(tmp_path / "rules.json") == READ


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[[rules", ValueError, "not TOML"),
        ("a = 1", ValueError, "one list, 'rules'"),
        ("rules = []", ValueError, "at least one"),
        ("rules = [3]", ValueError, "rule 1: must have 'select', 'kind' or 'ndim'"),
        ('[[rules]]\nselect = "*"', ValueError, "rule 1: must have"),
        (
            '[[rules]]\nselect = 3\nconstraint = "non_neg"',
            TypeError,
            "select must be a pattern",
        ),
        ('[[rules]]\nselect = "*"\nconstraint = "x"', ValueError, "unknown constraint"),
        (
            '[[rules]]\nselect = "*"\nconstraint = "max_norm"\nrate = 1',
            ValueError,
            "MaxNorm has no parameter rate: it has max_value, axis",
        ),
        (
            '[[rules]]\nselect = "*"\nconstraint = "max_norm"\nmax_value = -1',
            ValueError,
            "max_value must be at least 0",
        ),
        (
            '[[rules]]\nselect = "*"\nconstraint = "max_norm"\naxis = "x"',
            TypeError,
            "axis must be",
        ),
        (
            '[[rules]]\nselect = "*"\nconstraint = "none"\naxis = 0',
            ValueError,
            "takes parameters",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named(text, error, message, tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(error, match=message) as caught:
        read_rules(path)
    assert "rules.toml" in str(caught.value) or "at least one" in message


def test_other_files_are_refused(tmp_path):
    (tmp_path / "rules.yaml").write_text("rules: []")
    with pytest.raises(ValueError, match="toml or"):
        read_rules(tmp_path / "rules.yaml")


def test_parameters_are_those_of_the_constraint():
    assert constraint_of("max_norm", {"max_value": [1, 2], "axis": -1}) == MaxNorm(
        (1, 2), axis=-1
    )
    assert constraint_of("unit_norm", {"axis": "none"}) == UnitNorm(axis=None)
    with pytest.raises(ValueError, match="NonNeg has no parameter axis: it has none"):
        constraint_of("non_neg", {"axis": 0})


def test_a_file_says_all_that_a_rule_asks(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(
        '[[rules]]\nkind = ["conv", "dense"]\nexclude = "head.*"\nrequired = false\n'
        'constraint = "max_norm"\nmax_value = 2.0\naxis = "incoming"\n'
        '[[rules]]\nselect = "head.*"\nndim = [1, 2]\nconstraint = "none"\n'
    )
    assert read_rules(path) == Rules(
        [
            Rule(
                "*", MaxNorm(2.0, "incoming"), kind=("conv", "dense"), exclude="head.*",
                required=False,
            ),
            Rule("head.*", None, ndim=(1, 2)),
        ]
    )  # fmt: skip
