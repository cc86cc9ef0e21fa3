"""Which constraint applies to which weight: the first rule that matches decides."""

from __future__ import annotations

import json

import pytest

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm, serialize
from array_constraints.rules import Rule, Rules, as_rules, constraint_of, read_rules

NAMES = ["body.0.weight", "body.0.bias", "body.1.weight", "head.weight"]


def test_the_first_rule_that_matches_decides_and_the_order_is_that_of_the_names():
    rules = Rules([Rule("head.*", NonNeg()), Rule("*.weight", UnitNorm())])
    assert rules.match(NAMES) == {
        "body.0.weight": UnitNorm(),
        "body.1.weight": UnitNorm(),
        "head.weight": NonNeg(),
    }


def test_a_rule_without_a_constraint_leaves_alone_what_it_matches():
    rules = Rules([Rule("*.bias", None), Rule("body.*", NonNeg())])
    assert rules.match(NAMES).keys() == {"body.0.weight", "body.1.weight"}


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("body.?.weight", ["body.0.weight", "body.1.weight"]),
        ("body.[1-9].*", ["body.1.weight"]),
        ("*weight", ["body.0.weight", "body.1.weight", "head.weight"]),
        ("head.weight", ["head.weight"]),
    ],
)
def test_patterns_are_those_of_a_shell(pattern, matched):
    assert list(Rules([Rule(pattern, NonNeg())]).match(NAMES)) == matched


def test_upper_and_lower_case_differ():
    with pytest.raises(LookupError, match="matches none of the 4 weights"):
        Rules([Rule("BODY*", NonNeg())]).match(NAMES)


def test_a_rule_that_never_acts_is_an_error_that_says_why():
    rules = Rules([Rule("*", NonNeg()), Rule("head.*", UnitNorm())])
    with pytest.raises(LookupError, match=r"'head\.\*' never acts: earlier rules take all 1"):
        rules.match(NAMES)


def test_patterns_of_the_same_constraint_may_overlap():
    rules = Rules([Rule("*weight", NonNeg()), Rule("head.weight", NonNeg())])
    assert len(rules.match(NAMES)) == 3


def test_rules_from_a_constraint_pairs_a_mapping_or_names():
    assert as_rules(NonNeg()) == Rules([Rule("*", NonNeg())])
    assert as_rules("non_neg") == as_rules(NonNeg())
    assert as_rules([("a", "unit_norm"), Rule("b", None)]) == Rules(
        [Rule("a", UnitNorm()), Rule("b", None)]
    )
    assert as_rules({"a": NonNeg()}) == Rules([Rule("a", NonNeg())])
    assert as_rules(serialize(MaxNorm(3.0))) == Rules([Rule("*", MaxNorm(3.0))])
    rules = as_rules(NonNeg())
    assert as_rules(rules) is rules


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


def test_a_constraint_that_is_not_callable_is_refused():
    with pytest.raises(TypeError, match="must be callable"):
        Rule("*", 3)


def test_parameters_are_those_of_the_constraint():
    assert constraint_of("max_norm", {"max_value": [1, 2], "axis": -1}) == MaxNorm(
        (1, 2), axis=-1
    )
    assert constraint_of("unit_norm", {"axis": "none"}) == UnitNorm(axis=None)
    with pytest.raises(ValueError, match="NonNeg has no parameter axis: it has none"):
        constraint_of("non_neg", {"axis": 0})
