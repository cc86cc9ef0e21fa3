# ruff: noqa: RUF001  # a minus sign is meant
"""Laws in plain text: all of the specification, and no TeX left in it."""

from __future__ import annotations

import re

import pytest
from array_constraints_conformance import specification
from array_constraints_conformance.report.law import UnknownTex, mathematics, plain
from array_constraints_conformance.specification import requirements


@pytest.mark.parametrize("requirement", requirements().values(), ids=lambda each: each.id)
def test_a_law_is_plain_text_without_tex(requirement):
    text = plain(requirement.law)
    for mark in ("\\", "$", "^", "_{", "**"):
        assert mark not in text
    assert "  " not in text
    without_code = re.sub(r"`[^`]*`", "", text)  # names in code keep underscores and braces
    assert not re.search(r"[*_{}]", without_code)


def test_every_formula_of_the_specification_is_converted():
    formulas = re.findall(r"\$([^$]+)\$", specification.text())
    assert len(formulas) > 90
    for formula in formulas:
        assert not re.search(r"[\\^_{}]", mathematics(formula)), formula


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SET-1", "comes back in [a(1−τ), b(1+τ)] (`rate` 1)"),
        ("SET-3", "‖P(w) − p‖ ≤ (δ + 3u) max(‖p‖, ‖P(w)‖) + √n u t. `NonNeg` is exact."),
        ("SET-4", "⟨w − P(w), z − P(w)⟩ ≤ ε (‖w − P(w)‖ + ‖z − P(w)‖ + 3ε) for every"),
        ("SET-7", "‖Pᵏ(w) − P(w)‖ ≤ τ ‖P(w)‖ + √n u t after k = 1000 applications"),
        ("SET-13", "becomes (1−r)‖w‖ + r clip(‖w‖, a, b), within δ + 3u of"),
        ("NUM-2", "slices of 2¹⁶ equal"),
        ("NUM-7", "is at least c(1−δ), for c ≥ 8√n t."),
        ("GRAD-3", "(b/‖w‖)(I − (w wᵀ/‖w‖²)) for a slice brought to the norm b"),
    ],
)
def test_a_law_reads_as_it_would_be_written_by_hand(name, text):
    assert text in plain(requirements()[name].law)


@pytest.mark.parametrize(
    "tex", [r"\unknown x", "x^{y}", "x_{T}", "{x", "x}", r"\frac{1}", "x^"]
)
def test_what_is_not_known_is_refused_and_never_half_converted(tex):
    with pytest.raises(UnknownTex):
        mathematics(tex)
    assert plain(f"for ${tex}$, *always*") == f"for `{tex}`, always"
