"""Every example of the README and the docs runs; the README's commands are the real ones."""

from __future__ import annotations

import dataclasses
import doctest
import pkgutil
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from array_constraints_conformance import check_constraint
from array_constraints_conformance.cli import main
from libraries import DTYPES, NUMPY, ROUNDOFF, Library

from benchmarks import own_forms

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "conformance/README.md",
    *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md"))),
    *(f"docs/training/{p.name}" for p in sorted((ROOT / "docs/training").glob("*.md"))),
]
ELSEWHERE = {"docs/training/keras.md", "docs/training/recipes.md"}  # tests/integrations
GENERATED = {"docs/results.md"}


def run_blocks(page: str) -> dict:
    """Run the Python blocks of a page, top to bottom, in one namespace."""
    module = sys.modules["page"] = ModuleType("page")  # dataclasses look their module up
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
        exec(compile(block, page, "exec"), vars(module))
    return vars(module)


@pytest.fixture(autouse=True)
def registered_as_before():
    from array_constraints.config import registry

    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("page", [p for p in PAGES if p not in GENERATED | ELSEWHERE])
def test_the_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "import torch" in (ROOT / page).read_text():
        pytest.importorskip("torch")
    run_blocks(page)


def test_the_examples_of_the_reference_import_what_they_use():
    """They run with what ``from array_constraints import *`` gives: so does Sphinx run them."""
    given: dict = {}
    exec("from array_constraints import *", given)
    reference = (ROOT / "docs/reference.md").read_text()
    names = re.findall(r"auto(?:class|function|module):: ([\w.]+)", reference)
    runner = doctest.DocTestRunner(verbose=False)
    for name in names:
        for example in doctest.DocTestFinder().find(pkgutil.resolve_name(name), globs=given):
            runner.run(example)
    assert runner.tries > 50
    assert runner.failures == 0


def test_the_printed_results_are_those_in_the_comments(capsys):
    for page in ("docs/index.md", "docs/custom.md"):
        text = (ROOT / page).read_text()
        run_blocks(page)
        said = [re.sub(r":.*", "", c) for c in re.findall(r"print\(.*\)\s+# (.*)", text)]
        printed = re.sub(r"\n ", " ", capsys.readouterr().out)
        assert [re.sub(r"\s+", "", line) for line in printed.splitlines()] == [
            re.sub(r"\s+", "", line) for line in said
        ]


@pytest.mark.parametrize("name", ["Box", "MaxMean", "MinNorm", "Simplex"])
class TestTheConstraintsOfTheTutorial:
    @pytest.fixture
    def constraint(self, name):
        return own_forms.forms()[name]()

    def test_take_under_thirty_lines(self, name):
        text = (ROOT / "docs/adding-a-constraint.md").read_text()
        (block,) = re.findall(
            rf"```python\n((?:(?!```).)*class {name}\(.*?)```", text, re.DOTALL
        )
        assert sum(bool(line.strip()) for line in block.splitlines()) < 30

    def test_work_on_every_library(self, library: Library, constraint, name):
        w = np.random.default_rng(0).standard_normal((6, 5)) * [3, 3, 3, 0.1, 3]
        for dtype in library.dtypes:
            u = ROUNDOFF[dtype]
            x = library.array(w.astype(DTYPES[dtype]))
            result = constraint(x)
            assert (result.shape, result.dtype) == (x.shape, x.dtype)
            assert library.numpy(constraint.violation(x)).any()
            assert (library.numpy(constraint.violation(result)) <= 8 * u).all()
            twice, once = library.numpy(constraint(result)), library.numpy(result)
            np.testing.assert_allclose(
                twice.astype(float), once.astype(float), rtol=8 * u, atol=8 * u
            )
        again = dataclasses.replace(constraint)
        if hasattr(constraint, "axis"):
            again = dataclasses.replace(constraint, axis=[0, 1])
            assert again.axis == (0, 1)
        assert type(again).from_config(again.get_config()) == again
        assert hash(type(again).from_config(again.get_config())) == hash(again)
        if library is NUMPY:
            assert constraint(w, copy=False) is w


class TestTheSetFromStartToFinish:
    @pytest.fixture
    def blocks(self):
        text = (ROOT / "docs/adding-a-constraint.md").read_text()
        return re.findall(
            r"```python\n(.*?)```", text.partition("## From start to finish")[2], re.DOTALL
        )

    def test_takes_at_most_60_lines(self, blocks):
        assert sum(bool(line.strip()) for block in blocks for line in block.splitlines()) <= 60

    def test_is_judged_on_the_command_line(self, blocks, tmp_path, monkeypatch, capsys):
        """As the page says: all but the last block, which is a test, is the module."""
        (tmp_path / "my_sets.py").write_text("\n".join(blocks[:-1]))
        monkeypatch.syspath_prepend(tmp_path)
        command = ["--constraints", "my_sets", "--quick", "--xp", "numpy", "--all"]
        only = [word for name in ("MAG-1", "SET-3", "NUM-1") for word in ("--only", name)]
        assert main([*command, *only]) == 0
        shown = capsys.readouterr().out
        assert re.search(r"MAG-1 +A shortened slice never exceeds its bound +✓ met", shown)
        assert "my_sets: met (3 requirements)" in shown

    @pytest.mark.parametrize("name", ["torch", "jax.numpy"])
    def test_is_met_on_other_libraries(self, blocks, name):
        pytest.importorskip(name.partition(".")[0])
        module = sys.modules["page"] = ModuleType("page")
        for block in blocks[:-1]:
            exec(compile(block, "page", "exec"), vars(module))
        report = check_constraint(
            module.MaxMagnitude(0.7),
            definition=module.MAX_MAGNITUDE,
            only=["MAG-1", "SET-1", "SET-3", "NUM-9", "VIO-4"],
            profile="quick",
            xp=name,
        )
        assert {result.outcome for result in report.results} == {"met"}, str(report)


def test_the_commands_of_the_conformance_readme(tmp_path):
    """``nox -s readme`` runs all three: the first installs the checkout."""
    readme = (ROOT / "conformance" / "README.md").read_text()
    block = re.search(r"```\n(python3 -m venv .*?)```", readme, flags=re.DOTALL)
    install, finds, passes = block[1].strip().splitlines()
    assert "array-constraints[conformance] @ file://" in install
    for command, status in ((finds, 1), (passes, 0)):
        line = command.replace(".venv/bin/python", sys.executable)
        run = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == status, run.stdout[-3000:] + run.stderr[-3000:]
    assert {path.suffix for path in (tmp_path / "report").iterdir()} == {
        ".html",
        ".json",
        ".md",
        ".xml",
    }


def test_the_quick_check_of_the_readme(tmp_path):
    """The line before it installs the checkout, with the extra that it needs."""
    readme = (ROOT / "README.md").read_text()
    install, command = re.findall(r"^.*\[conformance\].*\n.*--quick$", readme, re.MULTILINE)[
        0
    ].splitlines()
    assert install.endswith("pip install --quiet '.[conformance]'")
    line = command.replace(".venv/bin/python", sys.executable)
    run = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", ["README.md", "docs/files.md"])
def test_the_commands_on_files(page, tmp_path):
    from safetensors.numpy import save_file

    rng, text = np.random.default_rng(0), (ROOT / page).read_text()
    names = [f"layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]
    tensors = {n: rng.standard_normal((8, 30) if "weight" in n else 8) for n in names}
    tensors["embed.weight"] = rng.standard_normal((50, 30))
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for rules in re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL):
        (tmp_path / "rules.toml").write_text(rules)
    script = (
        "array-constraints() { " + sys.executable + ' -W error -m array_constraints "$@"; }\n'
    )
    blocks = "".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL))
    commands = blocks.replace("\\\n", " ").splitlines()
    assert commands
    for command in commands:
        run = subprocess.run(
            ["bash", "-c", script + command], cwd=tmp_path, capture_output=True, check=False
        )
        assert run.returncode == ("# exits with 1" in command), (command, run.stderr)
    assert (tmp_path / "constrained.safetensors").exists()


def test_the_worked_example_of_files_runs(tmp_path, capsys):
    example = runpy.run_path(str(ROOT / "docs" / "examples" / "checkpoint.py"))
    example["main"](["--gibibytes", "0.02", "--folder", str(tmp_path)])
    assert "verified" in capsys.readouterr().out


def test_the_pictures_of_the_gallery_are_drawn(tmp_path):
    pictures = runpy.run_path(str(ROOT / "docs/examples/pictures.py"))
    pictures["main"](tmp_path)
    names = {"plane.svg", "norms.svg", "memory.svg"}
    if find_spec("torch"):
        watched = runpy.run_path(str(ROOT / "docs/examples/watched.py"))
        watched["main"](tmp_path, steps=2)
        names.add("watched.svg")
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        assert (ROOT / "docs/examples" / name).read_text().count("<svg") == 1


def test_pages_that_the_readme_links_to_need_no_sphinx():
    """A forge shows them as they are: no table, picture or text is included by a directive."""
    readme = (ROOT / "README.md").read_text()
    pages = re.findall(r"\]\((docs/[\w/-]+\.md)", readme)
    assert len(pages) > 8
    for page in {*pages, "docs/examples.md", "docs/gpu.md"}:
        text = (ROOT / page).read_text()
        assert not re.findall(r"```\{(?:include|image|figure|toctree|table)", text), page


def test_the_ci_runs_the_readme_test_command():
    readme = (ROOT / "README.md").read_text()
    _, demo, tests = re.findall(r"^python3 -m venv .*$", readme, flags=re.MULTILINE)
    assert demo.endswith("nox -s demo")
    assert tests.endswith("nox -s tests conformance")
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(tests)
    noxfile = (ROOT / "noxfile.py").read_text()
    for session in ("demo", "tests", "conformance"):
        assert f"def {session}(" in noxfile


def test_the_demo_runs(tmp_path, capsys):
    example = runpy.run_path(str(ROOT / "docs" / "examples" / "digits.py"))
    example["main"](["--epochs", "2", "--output", str(tmp_path)])
    (picture,) = tmp_path.glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "a slice that is projected never\nexceeds its bound" in capsys.readouterr().out


def test_the_page_of_results_begins_as_its_generator_writes_it(tmp_path):
    """The judging takes too long for a test; its lead and its picture follow from the page."""
    import measure_peers
    import results_lead

    page = (ROOT / "docs/results.md").read_text()
    assert page.startswith(results_lead.LEAD)
    for peer in measure_peers.PEERS.values():
        assert f"```\n{peer.command}\n```" in page
    counts = results_lead.counts(page)
    assert list(counts) == [
        p.title for p in (measure_peers.OURS, *measure_peers.PEERS.values())
    ]
    met, judged = counts["array_constraints"]
    assert met == judged
    results_lead.draw(page, tmp_path / "results.svg")
    assert (tmp_path / "results.svg").read_text().count("<svg") == 1
