"""The reports say what the record says, and nothing in a record can break out of them."""

from __future__ import annotations

import ast
import copy
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from xml.etree import ElementTree

import pytest
from array_constraints_conformance import report
from array_constraints_conformance.report.outcomes import ORDER
from array_constraints_conformance.report.summary import cell, visible
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from sample_record import HOSTILE, LIBRARIES, MAX_NORM_MOVED, REQUIREMENTS, sample

SCHEMA = json.loads(files(report).joinpath("record.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # surrogates and controls too


def objects(value: object) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from objects(item)


def hostile_everywhere(text: str) -> dict:
    """The sample, with the text wherever a suite, a subject or a library may put its own."""
    record = sample()
    names = ("name", "version", "device", "title", "law", "reason", "command", "created")
    found = ("constraint", "dtype", "input", "expected", "got", "message", "reproduce")
    for thing in objects(record):
        keys = found if "expected" in thing else names
        thing.update({key: f"{text}{thing[key] or ''}" for key in keys if key in thing})
    for result in record["results"]:
        result["library"] = f"{text}{result['library']}"
    return record


def small() -> dict:
    """The sample, with one result for each outcome."""
    record = sample()
    record["results"] = list({r["outcome"]: r for r in record["results"]}.values())
    return record


class TestTheSchema:
    def test_is_a_schema_of_this_version(self):
        VALIDATOR.check_schema(SCHEMA)
        assert SCHEMA["$id"].endswith(f":{report.SCHEMA_VERSION}")
        assert SCHEMA["properties"]["schema_version"] == {"const": report.SCHEMA_VERSION}

    def test_accepts_the_sample(self):
        VALIDATOR.validate(sample())

    def test_knows_the_outcomes_in_the_order_of_the_reports(self):
        assert tuple(SCHEMA["$defs"]["outcome"]["enum"]) == ORDER

    def test_refuses_a_further_key_anywhere(self):
        record = small()
        for thing in objects(record):
            thing["further"] = 1
            assert not VALIDATOR.is_valid(record)
            del thing["further"]
        VALIDATOR.validate(record)

    def test_refuses_a_record_without_any_one_key(self):
        record = small()
        counts = [verdict["counts"] for verdict in record["verdicts"]]
        for thing in objects(record):
            if any(thing is each for each in counts):
                continue
            for key, value in list(thing.items()):
                del thing[key]
                assert not VALIDATOR.is_valid(record), key
                thing[key] = value

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("outcome", "passed"),
            ("outcome", "not met"),  # where is its counterexample?
            ("applied", -1),
            ("seconds", -0.5),
            ("reason", 7),
        ],
    )
    def test_refuses_a_result_with(self, key, value):
        record = sample()
        assert record["results"][0]["outcome"] == "met"
        record["results"][0][key] = value
        assert not VALIDATOR.is_valid(record)


class TestACell:
    @pytest.mark.parametrize(
        ("outcomes", "shown"),
        [
            ("met", ("met", 1, 1)),
            ("met, met, not applicable, not provided", ("met", 2, 2)),
            ("met, known gap, known gap, not applicable", ("known gap", 2, 3)),
            ("known gap, untested", ("untested", 1, 2)),
            ("untested, gap closed", ("gap closed", 1, 2)),
            ("gap closed, met, not met", ("not met", 1, 3)),
            ("not applicable, not provided", ("not provided", 1, 2)),
        ],
    )
    def test_shows_the_worst_outcome_of_those_that_were_judged(self, outcomes, shown):
        assert cell({"outcome": outcome} for outcome in outcomes.split(", ")) == shown


class TestTheMarkdown:
    @pytest.mark.parametrize(
        "line",
        [
            "# Conformance of keras.constraints 3.15.1",
            "- Suite: array\\_constraints\\_conformance 0.1.0",
            "- Profile: quick, seed 0",
            "| Keras API | ✓ met | 20 met | it has get |",
            "| this API | not judged |  | it has no \\`violation\\` |",
            "| private | unknown | GPU 0 (NVIDIA H200) | float32 |",
            "| Requirement | Scope | numpy | torch | jax.numpy+x64+jit | private |",
            "| **SET-2** Interior points do not move | map, MUST "
            "| ✗ not met 1 of 3 | ✗ not met 1 of 3 | ✓ met | ? untested 1 of 3 |",
            "| **KER-1** `get` reads every form | Keras API, MUST "
            "| ✓ met | ✓ met | ✓ met | ✓ met |",
            "### SET-1 — The result is in the set",
            "#### △ known gap: MaxNorm on jax.numpy+x64+jit, private",
            "Subnormal slices are flushed to zero: issue \\#7.",
            "#### ✗ not met: MaxNorm on numpy, torch",
            "input:      [[1.0, 0.5],",
            "             [0.99999994, 0.24999999]]",
            "message:    4 of 4 entries moved, by up to 5.96e-08",
            MAX_NORM_MOVED["reproduce"],
            "#### ▲ gap closed: UnitNorm on torch",
            "#### ? untested: MinMaxNorm on private",
        ],
        ids=lambda line: line[:40],
    )
    def test_has_the_line_once(self, line):
        assert report.to_markdown(sample()).splitlines().count(line) == 1

    def test_states_each_requirement_with_findings_once_and_no_other(self):
        text = report.to_markdown(sample())
        assert re.findall(r"^### (\S+)", text, re.MULTILINE) == ["SET-1", "SET-2", "SET-3"]

    def test_says_so_where_nothing_was_found(self):
        record = sample()
        record["results"] = [r for r in record["results"] if r["outcome"] == "met"]
        assert report.to_markdown(record).endswith("## Findings\n\nNone.\n")

    @given(ANY_TEXT)
    def test_keeps_its_tables_and_sections_whatever_the_texts(self, text):
        fenced = re.compile(r"^(`{3,})(text|sh)\n.*?^\1$", re.DOTALL | re.MULTILINE)
        plain = fenced.sub("", report.to_markdown(sample()))
        hostile = fenced.sub("", report.to_markdown(hostile_everywhere(text)))
        hostile.encode()
        pipe = re.compile(r"(?<!\\)(?:\\\\)*\|")
        for pattern in (r"^\|.*", r"^#+ "):
            counts = [
                [len(pipe.findall(row)) for row in re.findall(pattern, page, re.MULTILINE)]
                for page in (hostile, plain)
            ]
            assert counts[0] == counts[1]

    def test_fences_code_by_more_backticks_than_it_holds(self):
        record = sample()
        found = next(r for r in record["results"] if r["outcome"] == "not met")
        found["counterexample"]["input"] = "````\n# a heading?\n````"
        assert "`````text\n" in report.to_markdown(record)


class TestTheJUnitXml:
    @pytest.fixture
    def root(self) -> ElementTree.Element:
        return ElementTree.fromstring(report.to_junit(sample()))

    def case(self, root, library, requirement, constraint):
        (suite,) = [each for each in root if each.get("name") == library]
        (case,) = [
            each
            for each in suite.iter("testcase")
            if each.get("classname") == requirement
            and each.get("name").startswith(f"{constraint}: ")
        ]
        return case

    def test_has_a_suite_for_each_library_that_counts_its_cases(self, root):
        assert [suite.get("name") for suite in root] == list(LIBRARIES)
        for element in (root, *root):
            for counted, tag in [("tests", "testcase"), ("failures", "failure")]:
                assert int(element.get(counted)) == len(list(element.iter(tag)))
            assert int(element.get("skipped")) == len(list(element.iter("skipped")))
            assert element.get("errors") == "0"
        assert [root.get(key) for key in ("tests", "failures", "skipped")] == ["100", "4", "27"]
        assert root[0].get("time") == "6.250"

    def test_names_a_case_and_its_properties(self, root):
        case = self.case(root, "numpy", "SET-2", "MaxNorm")
        assert case.get("name") == "MaxNorm: Interior points do not move"
        properties = {each.get("name"): each.get("value") for each in case.iter("property")}
        assert properties == {
            "requirement": "SET-2",
            "scope": "map",
            "level": "MUST",
            "outcome": "not met",
        }

    def test_explains_a_failure(self, root):
        failure = self.case(root, "numpy", "SET-2", "MaxNorm").find("failure")
        assert failure.get("type") == "not met"
        assert failure.get("message") == "not met: 4 of 4 entries moved, by up to 5.96e-08"
        assert "got:        [[0.99999994, 0.49999997]," in failure.text
        assert failure.text.endswith(MAX_NORM_MOVED["reproduce"])

    @pytest.mark.parametrize(
        ("library", "requirement", "constraint", "tag", "message"),
        [
            ("torch", "SET-2", "UnitNorm", "failure", "gap closed: Listed for torch 2.12."),
            ("private", "SET-2", "MinMaxNorm", "skipped", "untested"),
            ("numpy", "SET-1", "NonNeg", "skipped", "not applicable: Not a norm constraint."),
            ("numpy", "OWN-1", "MaxNorm", "skipped", "not provided: There is no `copy`."),
            ("numpy", "KER-1", "module", None, None),
        ],
    )
    def test_fails_skips_or_passes(self, root, library, requirement, constraint, tag, message):
        case = self.case(root, library, requirement, constraint)
        said = [(e.tag, e.get("message")) for e in case if e.tag != "properties"]
        assert said == ([(tag, message)] if tag else [])

    @given(ANY_TEXT)
    def test_stays_xml_whatever_the_texts(self, text):
        root = ElementTree.fromstring(report.to_junit(hostile_everywhere(text)).encode())
        assert [suite.get("name") for suite in root] == [
            visible(f"{text}{name}") for name in LIBRARIES
        ]


class Scripts(HTMLParser):
    """The scripts of a page, in order, and every address that it names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[tuple[str | None, str]] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.addresses += [attributes[key] for key in ("src", "href") if key in attributes]
        if tag == "script":
            self.scripts.append((attributes.get("id"), ""))

    def handle_data(self, data):
        if self.scripts and self.cdata_elem == "script":
            name, text = self.scripts[-1]
            self.scripts[-1] = (name, text + data)


class TestThePage:
    @given(ANY_TEXT)
    def test_holds_the_record_whatever_the_texts(self, text):
        record = hostile_everywhere(HOSTILE + text)
        page = Scripts(report.to_html(record))
        assert [name for name, _ in page.scripts] == ["record", "outcomes", "silent", None]
        assert json.loads(dict(page.scripts)["record"]) == record

    def test_names_no_address_outside_itself(self):
        page = report.to_html(sample())
        assert Scripts(page).addresses == ["data:,", "#matrix"]
        assert set(re.findall(r"\w+://[^\"']+", page)) == {"http://www.w3.org/1998/Math/MathML"}
        assert "innerHTML" not in page


class TestWrite:
    def test_writes_four_files_and_the_record_comes_back(self, tmp_path):
        record = hostile_everywhere(HOSTILE)
        paths = report.write(record, tmp_path / "new" / "folder")
        names = ["report.json", "report.md", "report.xml", "report.html"]
        assert paths == [tmp_path / "new" / "folder" / name for name in names]
        texts = [path.read_bytes().decode() for path in paths]
        assert json.loads(texts[0]) == record
        writers = (report.to_markdown, report.to_junit, report.to_html)
        assert texts[1:] == [writer(record) for writer in writers]

    def test_leaves_the_record_alone(self, tmp_path):
        record = sample()
        before = copy.deepcopy(record)
        report.write(record, str(tmp_path))
        assert record == before

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [("schema_version", 2, "must be 1, got 2"), ("seed", float("nan"), "nan")],
    )
    def test_writes_nothing_if_it_cannot_write_the_record(self, tmp_path, key, value, message):
        with pytest.raises(ValueError, match=message):
            report.write({**sample(), key: value}, tmp_path / "folder")
        assert not (tmp_path / "folder").exists()

    def test_accepts_a_record_without_results(self, tmp_path):
        record = sample()
        record.update(libraries=[], requirements=[], results=[], verdicts=[], constraints=[])
        VALIDATOR.validate(record)
        report.write(record, tmp_path)


def test_reports_are_made_of_a_record_with_the_standard_library_alone():
    for module in files(report).iterdir():
        if not module.name.endswith(".py") or module.name == "record.py":
            continue
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.module != "record"
                names += [] if node.level else [node.module]
            assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_every_outcome_and_requirement_occurs_in_the_sample():
    results = sample()["results"]
    assert {result["outcome"] for result in results} == set(ORDER)
    assert {result["requirement"] for result in results} == set(REQUIREMENTS)
