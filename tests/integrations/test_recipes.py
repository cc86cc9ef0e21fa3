"""The recipes train, and print what their page says.

They run in a process of their own, with a backend of Keras that trains. How the norms of others
are rounded depends on the processor, so that numbers may differ by a third; zeros, NaN and
words may not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/training/recipes.md"
NUMBER = r"[+-]?\d+(?:\.\d+)?"
MEASURED = rf"(?<![\w.])({NUMBER})(?= ?(?:u\b|%))"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


def measured(text: str) -> list[float]:
    return [float(number) for number in re.findall(MEASURED, text)]


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> str:
    for module in ("jax", "keras", "optax", "torch"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "recipes.py").write_text("".join(blocks("python")))
    run = subprocess.run(
        [sys.executable, "recipes.py"],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_recipes_print_what_the_page_says(printed):
    said = "".join(blocks("text"))
    assert re.sub(MEASURED, "_", printed) == re.sub(MEASURED, "_", said)
    assert measured(printed) == pytest.approx(measured(said), rel=1 / 3)


def test_each_number_in_the_prose_is_printed(printed):
    text = PAGE.read_text("utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    numbers = measured(prose)
    assert len(numbers) >= 9
    assert set(numbers) <= set(measured("".join(blocks("text"))))


def test_an_example_takes_at_most_25_lines():
    assert max(len(block.splitlines()) for block in blocks("python")) <= 25


def test_what_sphere_is_off_and_that_it_moves_nothing_again(printed):
    """Of each pair of lines the first is of a formula, the second of the constraint."""
    lines = [line for line in printed.splitlines() if "off by" in line]
    assert len(lines) == 10
    for theirs, ours in zip(lines[::2], lines[1::2], strict=True):
        assert "Sphere" in ours
        assert measured(ours)[0] <= min(2, measured(theirs)[0])
        assert "; 0% " in ours
        assert "; 0% " not in theirs
