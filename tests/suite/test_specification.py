"""The specification and the checks hold each other to account."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from array_constraints_conformance import specification
from array_constraints_conformance.catalogue import CATALOGUE, MembershipRule
from array_constraints_conformance.checks import CHECKS, LAWS
from array_constraints_conformance.checks.registry import check, law
from array_constraints_conformance.runner import MODULE
from array_constraints_conformance.runner.judgement import _LIBRARY_TERMS
from array_constraints_conformance.specification import LEVELS, SCOPES, requirements


def test_every_requirement_has_one_check_and_every_check_a_requirement():
    assert set(requirements()) == LAWS.keys() | CHECKS.keys()
    assert not LAWS.keys() & CHECKS.keys()


def test_an_unknown_or_used_id_fails_where_the_check_is_defined():
    for register in (check, law):
        with pytest.raises(ValueError, match="SET-999 is not in the specification"):
            register("SET-999")
        with pytest.raises(ValueError, match="SET-1 has a check already"):
            register("SET-1")


def test_ids_are_numbered_within_their_families_and_never_reused():
    numbers: dict[str, list[int]] = {}
    for requirement in requirements():
        family, number = requirement.split("-")
        numbers.setdefault(family, []).append(int(number))
    assert set(numbers) == {
        "SET",
        "ARR",
        "NUM",
        "CALL",
        "VIO",
        "LAZY",
        "GRAD",
        "CFG",
        "ERR",
        "FILE",
    }
    for found in numbers.values():
        assert found == list(range(1, len(found) + 1))


def test_every_term_is_one_that_the_runner_knows():
    known = {MODULE}.union(
        *(rule.traits for entry in CATALOGUE.values() for rule in entry.rules()),
        MembershipRule("custom").traits,
    )
    for requirement in requirements().values():
        assert requirement.level in LEVELS
        assert requirement.scope in SCOPES
        assert requirement.libraries in _LIBRARY_TERMS
        assert {term.strip() for term in requirement.constraints.split(",")} <= known
        assert len(requirement.law) > 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "### SET-1 - no dash\n*MUST · map · module · every library*\nlaw\n",
            "not a requirement",
        ),
        ("### SET-1 — A\n*MUST · map*\nlaw\n", "not a requirement"),
        (
            "### SET-1 — A\n*OUGHT · map · module · every library*\nlaw\n",
            "unknown level or scope",
        ),
        (
            "### SET-1 — A\n*MUST · mop · module · every library*\nlaw\n",
            "unknown level or scope",
        ),
        ("### SET-1 — A\n*MUST · map · module · every library*\nlaw\n" * 2, "is used twice"),
    ],
)
def test_a_malformed_specification_is_refused(monkeypatch, text, message):
    monkeypatch.setattr(specification, "text", lambda: text)
    with pytest.raises(ValueError, match=message):
        requirements.__wrapped__()


def test_the_suite_never_imports_the_library_that_it_was_written_beside():
    from pathlib import Path

    import array_constraints_conformance

    package = Path(array_constraints_conformance.__file__).parent
    for module in package.rglob("*.py"):
        imports = re.findall(r"^\s*(?:from|import) ([\w.]+)", module.read_text(), re.MULTILINE)
        assert "array_constraints" not in {name.partition(".")[0] for name in imports}, module


def test_the_legend_of_the_page_has_the_constants_of_the_specification():
    package = resources.files(specification.__package__)
    text = (package / "specification.md").read_text("utf-8")
    rows = re.findall(r"^\| the (\w+) \$\\(\w+)\$ \| \$(.+?)\$ \| (.+?) \|$", text, re.M)
    assert [name for name, *_ in rows] == ["band", "tolerance", "depth"]
    page = (package / "report" / "page.html").read_text("utf-8")
    legend = re.sub(r"<[^>]+>|\s", "", page)
    letters = {"beta": "β", "tau": "τ", "delta": "δ"}
    in_16_bits = set()
    for _, letter, constant, narrow in rows:
        plain = re.sub(r"[\\,\s]", "", constant)
        assert f"{letters[letter]}={plain}" in legend
        in_16_bits.add(re.sub(r"[\\,$\s]", "", narrow))
    assert in_16_bits == {"thesame", "2.05u"}
    assert "in16bits,τ=δ=2.05u" in legend
