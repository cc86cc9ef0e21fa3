"""Which constraint applies to which weight: the first rule that matches decides."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pytest
from rich.console import Console

from array_constraints import MaxNorm, NonNeg, UnitNorm, serialize
from array_constraints.layers import Role, Weight
from array_constraints.rules import Rule, Rules, as_rules

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


def test_a_rule_that_matches_no_kind_says_which_kinds_there_are():
    role = Role("Linear", "dense", (1,))
    with pytest.raises(LookupError, match=r"does not match the only weight: 'head' \(dense\)$"):
        Rules([Rule("*", NonNeg(), kind="conv")]).select([Weight("head", role=role)])


def test_a_rule_that_never_acts_is_an_error_that_says_why():
    rules = Rules([Rule("*", NonNeg()), Rule("head.*", UnitNorm())])
    with pytest.raises(
        LookupError, match=r"'head\.\*' never acts: earlier rules take the only weight"
    ):
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


def test_a_constraint_that_is_not_callable_is_refused():
    with pytest.raises(TypeError, match="must be callable"):
        Rule("*", 3)


def test_a_rule_takes_a_name_or_a_class_and_rules_take_one_rule():
    assert Rule("*", "unit_norm") == Rule("*", UnitNorm)
    assert as_rules(Rule("*", "unit_norm")) == as_rules("unit_norm")
    for wrong in ([UnitNorm()], ["*"], [("a", "b", "c")]):
        with pytest.raises(TypeError, match="rules are a list of Rule, or of pairs"):
            as_rules(wrong)


class TestWhatARuleAsks:
    WEIGHTS = (
        ("body.0.weight", np.ones((3, 2))),
        ("body.0.bias", np.ones(3)),
        ("conv.weight", np.ones((3, 2, 2, 2))),
    )

    def test_dimensions(self):
        for ndim, names in ((2, ["body.0.weight"]), ((1, 4), ["body.0.bias", "conv.weight"])):
            assert list(Rules([Rule("*", NonNeg(), ndim=ndim)]).match(self.WEIGHTS)) == names

    def test_exclusion_of_one_pattern_or_several(self):
        for exclude, names in (
            ("*.bias", ["body.0.weight", "conv.weight"]),
            (["*.bias", "conv.*"], ["body.0.weight"]),
        ):
            rules = Rules([Rule("*", NonNeg(), exclude=exclude)])
            assert list(rules.match(self.WEIGHTS)) == names

    def test_kinds_of_layers(self):
        nn = pytest.importorskip("torch.nn")
        model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        rules = Rules([Rule("*", None, kind=("norm", "bias")), Rule("*", NonNeg())])
        assert list(rules.match(model)) == ["0.weight"]

    def test_a_kind_is_not_known_without_a_layer(self):
        rules = Rules([Rule("body.*", NonNeg(), kind="dense")])
        message = r"'body.0.weight': the rule 'body.\*' \(kind='dense'\) asks for its kind"
        with pytest.raises(ValueError, match=message):
            rules.match(self.WEIGHTS)

    def test_dimensions_are_not_known_of_a_name(self):
        with pytest.raises(ValueError, match="asks for ndim, and the weight has no shape"):
            Rules([Rule("*", NonNeg(), ndim=2)]).match(["w"])

    def test_a_rule_that_is_not_required_need_not_act(self):
        rules = Rules([Rule("gone.*", NonNeg(), required=False), Rule("conv.*", NonNeg())])
        assert list(rules.match(self.WEIGHTS)) == ["conv.weight"]

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"ndim": "2"}, TypeError, "ndim must be an int or several, got '2'"),
            ({"ndim": True}, TypeError, "ndim must be an int"),
            ({"kind": "linear"}, ValueError, "kind must be of dense, conv, .*got 'linear'"),
            ({"kind": 2}, TypeError, "kind must be a text"),
            ({"exclude": 3}, TypeError, "exclude must be a text or several, got 3"),
            ({"required": 1}, TypeError, "required must be true or false, got 1"),
        ],
        ids=str,
    )
    def test_nonsense_is_refused(self, options, error, message):
        with pytest.raises(error, match=message):
            Rule("*", NonNeg(), **options)


class TestApply:
    def test_each_weight_gets_the_constraint_of_its_rule(self, library):
        array, numpy = library.array, library.numpy
        weights = {
            "head": {"weight": array(np.full((2, 4), 2.0, "float32"))},
            "bias": array(np.asarray([-1.0, 1.0], "float32")),
        }
        rules = Rules([Rule("*.weight", MaxNorm(1.0, "incoming")), Rule("bias", NonNeg())])
        found = rules.apply(weights, layout="torch")
        np.testing.assert_allclose(numpy(found["head"]["weight"]), np.full((2, 4), 0.5), 1e-6)
        np.testing.assert_array_equal(numpy(found["bias"]), [0.0, 1.0])
        assert numpy(weights["bias"]).tolist() == [-1.0, 1.0]

    def test_in_place_and_pairs(self):
        pairs = [("a", np.asarray([-1.0])), ("b", np.asarray([-1.0]))]
        found = Rules([Rule("a", NonNeg())]).apply(iter(pairs), copy=False)
        assert found == pairs
        assert pairs == [("a", np.asarray([0.0])), ("b", np.asarray([-1.0]))]

    def test_a_callable_of_ones_own(self):
        w = np.asarray([2.0])
        rules = Rules([Rule("*", lambda w: w / 2)])
        assert rules.apply({"w": w})["w"] == 1.0
        assert w == 2.0
        assert rules.apply({"w": w}, copy=False)["w"] is w
        assert w == 1.0

    def test_tied_weights_once_by_any_of_their_names(self):
        w = np.asarray([[3.0, 4.0]])
        rules = Rules([Rule("out", UnitNorm(axis=1))])
        found = rules.apply({"embed": w, "out": w}, copy=False)
        assert found["embed"] is found["out"] is w
        np.testing.assert_allclose(w, [[0.6, 0.8]])

    @pytest.mark.parametrize("name", ["jax.numpy", "dask.array"])
    def test_one_array_that_cannot_be_written_is_two_weights_under_two_names(self, name):
        w = pytest.importorskip(name).asarray([-1.0, 2.0])
        found = as_rules([("rate", NonNeg())]).apply({"rate": w, "wind": w})
        assert np.asarray(found["rate"]).tolist() == [0.0, 2.0]
        assert found["wind"] is w

    def test_an_error_names_the_weight_and_nothing_is_written(self):
        weights = {"a": np.asarray([-1.0]), "b": np.asarray([1.0])}
        rules = Rules([Rule("a", NonNeg()), Rule("b", MaxNorm(1.0, axis=1))])
        with pytest.raises(ValueError, match="'b': MaxNorm: axis 1 does not fit an array of 1"):
            rules.apply(weights, copy=False)
        assert weights["a"] == -1.0
        with pytest.raises(TypeError, match="'a': MaxNorm takes a real floating dtype"):
            as_rules(MaxNorm()).apply({"a": np.ones(2, int)})


def test_explain_says_what_each_rule_does_and_what_is_left():
    weights = {"w": np.asarray([[3.0, 0.3], [4.0, 0.4]]), "b": np.ones(2), "n": np.ones(2)}
    rules = Rules([Rule("w", MaxNorm(1.0, "incoming")), Rule("b", NonNeg())])
    found = rules.explain(weights, layout="torch")
    assert found.rows[0] == {
        "weight": "w", "shape": (2, 2), "kind": None, "constraint": MaxNorm(1.0, axis=1),
        "axis": (1,), "slices": 2, "entries": 2, "violating": 2,
    }  # fmt: skip
    assert [row["violating"] for row in found.rows] == [2, 0, None]
    assert found.unselected == ["n"]
    assert "2 of 3 weights are constrained" in str(found)
    assert "MaxNorm" in found._repr_html_()


def test_a_callable_that_knows_nothing_of_copies_is_applied():
    import numpy as np

    rules = as_rules([("w", lambda w: np.clip(w, -0.5, 0.5))])
    for copy in (None, True, False):
        w = np.asarray([1.0, -2.0, 0.25])
        found = rules.apply({"w": w}, copy=copy)["w"]
        assert found.tolist() == [0.5, -0.5, 0.25]
        assert (found is w) == (copy is False)


def test_pairs_are_rules():
    assert Rules([("*.bias", None), ("*", NonNeg())]) == Rules(
        [Rule("*.bias", None), Rule("*", NonNeg())]
    )
    with pytest.raises(TypeError, match="pairs of a pattern and a constraint, got str"):
        Rules(["*"])


@dataclass(frozen=True)
class ConstraintOfALongNameThatIsShownWhole(MaxNorm):
    pass


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_a_table_cuts_nothing(width):
    name = "encoder.layers[0].attention.output.weight"
    weights = {name: np.ones((128, 64)), "b": np.ones(3), "c": np.ones(2)}
    long = ConstraintOfALongNameThatIsShownWhole(2.0, axis=1)
    rules = Rules([Rule("b", NonNeg()), Rule("enc*", long), Rule("c", np.abs)])
    console = Console(width=width, file=io.StringIO())
    console.print(rules.explain(weights))
    text = console.file.getvalue()
    assert "…" not in text
    shown = "".join(text.split())
    assert "2ConstraintOfALongNameThatIsShownWhole(max_value=2.0,axis=1," in shown
    assert "3absolute" in shown
    lines = text.splitlines()
    if width < 80:
        assert name in "".join(lines)
        assert "shape128x64,kind-,constraint2Constraint" in shown
        assert "axis1,slices128,entries64,violating128" in shown
        return
    cells = [line.split() for line in lines]
    assert ["b", "3", "-", "1", "NonNeg", "-", "-", "-", "0"] in cells
    start = next(i for i, line in enumerate(cells) if "128x64" in line)
    assert cells[start][-4:] == ["1", "128", "64", "128"]
    end = next(i for i, line in enumerate(cells) if line[:1] == ["b"])
    column = lines[start].index("128x64")
    assert "".join(line[:column].strip() for line in lines[start:end]) == name


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("head", "'*head'"),
        ("*HEAD*", "'*head*'"),
        ("*embd*", "'*embed*'"),
        ("embedd.weight", "'embed.weight'"),
        ("layers[0].tail", "'layers[[]0].tail'"),
        ("*nothing*", None),
    ],
)
def test_a_pattern_that_matches_nothing_is_told_what_is_like_it(pattern, meant):
    names = ["embed.weight", "body.head", "layers[0].tail"]
    with pytest.raises(LookupError) as raised:
        Rules([Rule(pattern, NonNeg())]).match(names)
    assert str(raised.value).endswith(f"; did you mean {meant}?" if meant else "tail'")


def test_patterns_that_exclude_nothing_are_allowed():
    assert list(Rules([Rule("*", NonNeg(), exclude="*.none")]).match(NAMES)) == NAMES
