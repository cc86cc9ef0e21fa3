"""Rules that ask for dimensions, and the incoming axis of a layout, on files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.files import check_file, project_file
from array_constraints.rules import Rule, Rules

WEIGHTS = {
    "body.weight": np.full((4, 9), 1.0, "float32"),
    "body.bias": np.full(4, -1.0, "float32"),
    "embed.weight": np.full((5, 4), 2.0, "float32"),
}
RULES = Rules(
    [
        Rule("*", UnitNorm(axis="incoming"), ndim=2, exclude="embed.*"),
        Rule("embed.weight", MaxNorm(1.0, axis="incoming")),
        Rule("*.bias", NonNeg()),
        Rule("gone.*", NonNeg(), required=False),
    ]
)


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "w.npz", **WEIGHTS)
    return tmp_path / "w.npz"


def test_it_is_resolved_by_the_layout(file, tmp_path):
    report = project_file(file, tmp_path / "out.npz", RULES, layout="torch")
    assert report.satisfied
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["body.weight"], 1 / 3, rtol=1e-6)
        np.testing.assert_allclose(found["embed.weight"], 1 / 2, rtol=1e-6)
        assert found["body.bias"].tolist() == [0.0] * 4
    assert check_file(tmp_path / "out.npz", RULES, layout="torch").satisfied
    columns = Rules([Rule("body.weight", UnitNorm(axis="incoming"))])
    with pytest.raises(
        ValueError, match=r"'body.weight': axis='incoming': shape .*Dense.*Embedd"
    ):
        check_file(file, columns, layout="keras")


def test_without_a_layout_it_is_an_error_that_names_the_tensor(file):
    with pytest.raises(
        ValueError, match=r"'body.weight': axis='incoming' is known from a layer"
    ):
        check_file(file, RULES)
    with pytest.raises(ValueError, match="layout must be 'torch' or 'keras', got 'flax'"):
        check_file(file, RULES, layout="flax")


def test_a_kind_needs_a_layer(file):
    with pytest.raises(ValueError, match="asks for its kind, which only a layer knows"):
        check_file(file, Rules([Rule("*", NonNeg(), kind="dense")]))


def test_a_run_is_continued_with_the_same_rules_and_layout_alone(tmp_path):
    from array_constraints.files.delivery.identity import fingerprint
    from array_constraints.files.formats.opening import open_weights

    np.save(tmp_path / "w.npy", WEIGHTS["body.weight"])
    with open_weights(tmp_path / "w.npy") as source:
        made = {
            json.dumps(fingerprint(source, source.files, rules, layout))
            for layout in (None, "torch", "keras")
            for rules in (
                RULES,
                Rules(RULES.rules[:2]),
                Rules([Rule("*", UnitNorm(axis="incoming"), ndim=3)]),
                Rules([Rule("*", UnitNorm(axis="incoming"), ndim=2)]),
            )
        }
    assert len(made) == 12
