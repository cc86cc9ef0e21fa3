"""Which tensors a pattern takes, which it skips, and what has to fit."""

from __future__ import annotations

import numpy as np
import pytest

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.files import check_file, norms_of_file, project_file
from array_constraints.rules import Rule, Rules, read_rules

TENSORS = {
    "model.embed.weight": np.full((9, 4), 1.0, "f4"),
    "model.layer.0.weight": np.full((6, 4), 2.0, "f4"),
    "model.layer.0.bias": np.full(6, -1.0, "f4"),
    "model.norm.weight": np.full(4, 3.0, "f4"),
    "model.position_ids": np.arange(4),
    "optimizer.state.0.exp_avg": np.full((6, 4), 5.0, "f4"),
}


@pytest.fixture
def file(tmp_path):
    from safetensors.numpy import save_file

    save_file(TENSORS, tmp_path / "in.safetensors", {"format": "pt"})
    return tmp_path / "in.safetensors"


def taken(report):
    return {tensor.name for tensor in report.tensors}


def skipped(report):
    return {one.name: one.reason for one in report.skipped}


def test_everything_is_what_the_constraint_fits(file):
    """Along axis 0, whatever has a dimension; what an optimizer remembers is no weight."""
    report = check_file(file, MaxNorm(1.0, axis=0))
    assert taken(report) == {name for name in TENSORS if name[:5] == "model"} - {
        "model.position_ids"
    }
    reasons = skipped(report)
    assert "its dtype is I64" in reasons.pop("model.position_ids")
    assert reasons == {"optimizer.state.0.exp_avg": "a state of the optimizer, no weight"}
    assert taken(check_file(file, NonNeg())) == taken(report)


def test_what_is_skipped_comes_over_byte_for_byte(file, tmp_path):
    from safetensors.numpy import load_file

    report = project_file(file, tmp_path / "out.safetensors", MaxNorm(1.0, axis=1))
    found = load_file(tmp_path / "out.safetensors")
    for name, before in TENSORS.items():
        same = found[name].tobytes() == before.tobytes()
        assert same == (name not in taken(report))
    assert taken(report) == {"model.embed.weight", "model.layer.0.weight"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("*.weight", NonNeg()), {"embed.weight", "layer.0.weight", "norm.weight"}),
        (Rule("*.weight", UnitNorm(axis=1)), {"embed.weight", "layer.0.weight"}),
        (Rule("*.weight", NonNeg(), exclude="*.norm.*"), {"embed.weight", "layer.0.weight"}),
        (Rule("*", NonNeg(), ndim=1), {"layer.0.bias", "norm.weight"}),
        (Rule("*", NonNeg(), min_size=25), {"embed.weight"}),
        (Rule("*", NonNeg(), min_size=24, ndim=2), {"embed.weight", "layer.0.weight"}),
    ],
)
def test_a_rule_takes_what_it_says_and_what_fits(rule, expected, file):
    assert taken(check_file(file, Rules([rule]))) == {f"model.{name}" for name in expected}


def test_the_state_of_an_optimizer_is_taken_where_it_is_named(file):
    rules = [("optimizer.state.*", NonNeg())]
    assert taken(check_file(file, rules)) == {"optimizer.state.0.exp_avg"}


@pytest.mark.parametrize(
    ("select", "strict", "error", "message"),
    [
        ("model.position_ids", False, TypeError, "'model.position_ids': its dtype is I64"),
        (
            "model.layer.*",
            True,
            ValueError,
            "'model.layer.0.bias': MaxNorm: axis 1 does not fit",
        ),
        ("model.norm.weight", False, ValueError, "axis 1 does not fit an array of 1 dim"),
        ("*_ids", False, LookupError, r"none of the tensors .* '\*_ids' .*1 in all"),
        ("layers.*", False, LookupError, "matches none of the 6 weights"),
    ],
)
def test_what_has_to_fit_is_an_error(select, strict, error, message, file):
    with pytest.raises(error, match=message):
        check_file(file, [(select, MaxNorm(1.0, axis=1))], strict=strict)


def test_the_first_rule_decides_though_its_constraint_does_not_fit(file):
    """A later rule does not catch what an earlier one skips: which applies is in the rules."""
    rules = Rules([Rule("model.*", UnitNorm(axis=1)), Rule("*.bias", NonNeg(), required=False)])
    report = check_file(file, rules)
    assert "model.layer.0.bias" in skipped(report)


def test_a_file_of_rules_says_the_same(file, tmp_path):
    (tmp_path / "rules.toml").write_text(
        '[[rules]]\nselect = "*"\nconstraint = "unit-norm"\naxis = 1\n'
        'exclude = ["*embed*", "optimizer*"]\nmin_size = 10\n'
    )
    report = check_file(file, read_rules(tmp_path / "rules.toml"))
    assert taken(report) == {"model.layer.0.weight"}
    for wrong in ("-1", '"many"', "true"):
        (tmp_path / "bad.toml").write_text(
            f'[[rules]]\nselect = "*"\nconstraint = "non_neg"\nmin_size = {wrong}\n'
        )
        with pytest.raises(ValueError, match="min_size must be an int of at least 0"):
            read_rules(tmp_path / "bad.toml")


def test_norms_are_those_of_what_is_selected(file):
    report = norms_of_file(file, select=["*.weight"], exclude="*embed*", ndim=2)
    (tensor,) = report.tensors
    assert tensor.name == "model.layer.0.weight"
    assert tensor.constraint.axis == (1,) or tensor.constraint.axis == 1
    assert tensor.before.distribution.least == tensor.before.distribution.largest == 4.0


def test_a_name_in_full_has_to_fit_though_a_pattern_comes_before_it(file):
    rules = [("*", MaxNorm(1.0, axis=1)), ("model.norm.weight", MaxNorm(1.0, axis=1))]
    with pytest.raises(ValueError, match=r"'model\.norm\.weight': MaxNorm: axis 1"):
        check_file(file, Rules([Rule(*rule, required=False) for rule in rules]))


@pytest.mark.parametrize(
    ("select", "meant"),
    [
        ("model.embed.weigth", "'model.embed.weight'"),
        ("embed.weight", "'model.embed.weight'"),
        ("bias", r"'\*bias'"),
        ("layer.*.weight", r"'\*layer\.\*\.weight'"),
    ],
)
def test_a_name_that_is_almost_right_is_suggested(select, meant, file):
    with pytest.raises(LookupError, match=f"; did you mean {meant}\\?"):
        check_file(file, [(select, NonNeg())])


def test_which_of_equal_slices_are_listed_does_not_depend_on_threads(tmp_path):
    np.save(tmp_path / "w.npy", np.full((3000, 40), 1.0))
    found = {
        tuple(one.at for one in check_file(
            tmp_path / "w.npy", MaxNorm(1.0, axis=1), slices=3, chunk_size=2**16, workers=4
        ).tensors[0].before.worst)
        for _ in range(5)
    }  # fmt: skip
    assert found == {((0, None), (1, None), (2, None))}
