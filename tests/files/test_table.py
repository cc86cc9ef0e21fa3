"""The table of formats: the command line, the documentation and the errors say what it says."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from array_constraints.cli import main
from array_constraints.files import check_file, open_weights
from array_constraints.files.formats.table import OPENED, SUFFIXES, TABLE

ROOT = Path(__file__).parents[2]
REFUSED = [row for row in TABLE if row.refused]


def name(row):
    return row.name


def section(title):
    """Return a section of the page on files."""
    page = (ROOT / "docs/files.md").read_text()
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_each_row_is_opened_by_a_module_or_refused_for_a_reason():
    suffixes = [suffix for row in TABLE for suffix in row.suffixes]
    assert len({*suffixes}) == len(suffixes)
    assert all(bool(row.module) != bool(row.refused) for row in TABLE)


def test_the_documentation_has_the_formats_of_the_table():
    rows = [line.split("|")[1] for line in section("Formats").splitlines() if "|" in line]
    codes = set(re.findall(r"`(\.[a-z0-9.]+)`", " ".join(rows))) - {".index.fp16.json"}
    assert codes == {suffix for row in OPENED for suffix in row.suffixes}
    text = section("Formats")
    assert all(f"`{suffix}`" in text for row in REFUSED for suffix in row.suffixes)
    described = {*re.findall(r"[\w.]*\w", check_file.__doc__)}
    assert all({row.name, *row.suffixes} & described for row in OPENED)


def test_the_help_has_the_formats_of_the_table():
    said = CliRunner().invoke(main, ["--help"]).stdout
    assert f"Formats: {SUFFIXES}" in " ".join(said.split())


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = (ROOT / "docs/files.md").read_text().split("install '.[")[1].split("]")[0]
    extras = [project["optional-dependencies"][extra] for extra in installed.split(",")]
    for row in OPENED:
        assert row.library in " ".join(itertools.chain(*extras))


@pytest.mark.parametrize("row", REFUSED, ids=name)
def test_a_format_that_is_not_opened_is_refused_with_advice(row, tmp_path):
    for suffix in row.suffixes:
        path = tmp_path / f"w{suffix}"
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=f"{suffix} is not read: {re.escape(row.refused)}"):
            open_weights(path)


@pytest.mark.parametrize("marker", [m for row in REFUSED for m in row.markers])
def test_a_folder_of_another_checkpoint_says_what_it_is(marker, tmp_path):
    (row,) = (row for row in REFUSED if marker in row.markers)
    (tmp_path / marker).write_bytes(b"")
    with pytest.raises(ValueError, match=f"is not read: {re.escape(row.refused)}"):
        open_weights(tmp_path)


@pytest.mark.parametrize("row", [row for row in REFUSED if row.suffixes], ids=name)
def test_a_folder_with_nothing_but_a_format_that_is_refused_says_why(row, tmp_path):
    (tmp_path / f"w{row.suffixes[0]}").write_bytes(b"")
    with pytest.raises(ValueError, match=f"is not read: {re.escape(row.refused)}"):
        open_weights(tmp_path)


def test_a_name_of_no_format_is_refused_with_a_list_of_them(tmp_path):
    for path, said in ((tmp_path / "w.xyz", ".xyz"), (tmp_path / "w", "a name without")):
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=f"{said}.* is not read.*{re.escape(SUFFIXES)}"):
            open_weights(path)


@pytest.mark.parametrize("row", [row for row in OPENED if row.library], ids=name)
def test_without_its_library_a_format_says_what_to_install(row, tmp_path, monkeypatch):
    path = tmp_path / f"w{row.suffixes[0]}"
    if row.markers:
        path.mkdir()
        path /= row.markers[0]
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, row.library, None)
    with pytest.raises(
        ImportError, match=f"{row.name} is read with.*pip install {row.library}"
    ):
        open_weights(path.parent if row.markers else path)


@pytest.mark.parametrize("row", OPENED, ids=name)
def test_no_format_imports_another(row):
    package = "array_constraints.files.formats"
    text = Path(importlib.util.find_spec(f"{package}.{row.module}").origin).read_text()
    others = [other.module for other in OPENED if other is not row]
    assert not [m for m in others if re.search(rf"{re.escape(package)}\.{m} import", text)]
