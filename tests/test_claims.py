"""What README and docs/performance.md say of speed is what the measured tables say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import memory, pages

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
LARGE, SMALL = ("4096x4096", "30522x384"), ("8x8", "64x64")
MIDDLE = ("784x256", "3x3x256x512")
VIOLATING, PLAIN = ("", "all"), ("", "all", "feasible")
KERAS, UNDER_JIT = "x Keras", "x Keras, jit"
COLUMN_OF_LIBRARY = {"jax": UNDER_JIT, "torch": "x torch.renorm", "numpy": "x copy"}


def plain(text: str) -> str:
    """Return Markdown on one line, without links, emphasis and code marks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\s+", " ", text.replace("`", "").replace("*", ""))


def library_of(row: dict[str, str]) -> str | None:
    return next((lib for lib, column in COLUMN_OF_LIBRARY.items() if column in row), None)


def ratios(
    column: str, libraries: str, weights: tuple[str, ...], data=PLAIN, calls=("", "in place")
) -> Iterator[float]:
    """Yield the medians of a column in the rows of these libraries, weights and calls."""
    for row in pages.rows(PAGE, "times"):
        weight, _, kind = row["weight"].partition(", ")
        chosen = weight.startswith(tuple(f"{name} " for name in weights)) and kind in data
        chosen = chosen and library_of(row) in libraries.split() and row["call"] in calls
        if chosen and row.get(column):
            yield float(row[column].split()[0])


def test_tables_are_read():
    assert len(list(ratios(KERAS, "numpy", LARGE))) == 24
    assert list(ratios(KERAS, "numpy", ("8x8",), data=("",))) == [0.11, 0.14, 0.11, 0.14]


def test_a_table_is_replaced_where_its_comments_stand(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table: speed, written by b -->\nold\n<!-- end of table -->\nc\n")
    pages.replace(page, "speed", "| x | y |\n|---|---|\n| 1 | 2 |\n")
    assert pages.rows(page, "speed") == [{"x": "1", "y": "2"}]
    assert page.read_text().startswith("a\n<!-- table: speed, written by b -->\n\n| x")
    assert page.read_text().endswith("| 2 |\n\n<!-- end of table -->\nc\n")
    for function in (pages.read, pages.rows):
        with pytest.raises(ValueError, match="no table named 'size'"):
            function(page, "size")
    with pytest.raises(ValueError, match="0 tables named 'size'"):
        pages.replace(page, "size", "")


IN_PLACE, NEW, JIT = ("in place",), ("",), ("jit",)
CLAIMS = {
    "{} to {} of the time of Keras. A new": (KERAS, "numpy torch", LARGE),
    "A new result takes {} to {}, writing": (KERAS, "numpy torch", LARGE, VIOLATING, NEW),
    "in place {} to {}, and": (KERAS, "numpy torch", LARGE, VIOLATING, IN_PLACE),
    "its constraint already {} to {}.": (KERAS, "numpy torch", LARGE, ("feasible",)),
    "JAX, large weights: {} to {} of": (UNDER_JIT, "jax", LARGE, PLAIN, JIT),
    "Called without jit, {} to {}.": (KERAS, "jax", LARGE, PLAIN, NEW),
    "{} to {} on NumPy, 0.25": (KERAS, "numpy", SMALL),
    "{} to {} on PyTorch, 0.97": (KERAS, "torch", SMALL),
    "{} to {} on JAX under jit.": (UNDER_JIT, "jax", SMALL, PLAIN, JIT),
    "of which slices violate ({} to {})": (KERAS, "torch", MIDDLE, VIOLATING),
    "the same and on 64x64 ({} to {})": (UNDER_JIT, "jax", (*MIDDLE, "64x64"), VIOLATING, JIT),
    "{} to {} of Keras for a new": (KERAS, "torch", MIDDLE, VIOLATING, NEW),
    "{} to {} in place. Keras's": (KERAS, "torch", MIDDLE, VIOLATING, IN_PLACE),
    "{} to {} for the convolution, 0.95": (UNDER_JIT, "jax", MIDDLE[1:], PLAIN, JIT),
    "{} to {} for large weights. A factor": (UNDER_JIT, "jax", LARGE, PLAIN, JIT),
    "float16 on NumPy: {} to {} of Keras": (KERAS, "numpy", LARGE, ("float16",)),
}


@pytest.mark.parametrize("sentence", CLAIMS)
def test_a_sentence_on_speed_says_what_was_measured(sentence):
    found = list(ratios(*CLAIMS[sentence]))
    assert sentence.format(f"{min(found):.2f}", f"{max(found):.2f}") in plain(PAGE.read_text())


def test_what_in_place_saves():
    rows = {(library_of(r), r["weight"], r["call"]): r for r in pages.rows(PAGE, "times")}
    sentence = plain(PAGE.read_text())
    said = {"numpy": "takes {} to {} of the time", "torch": "{} to {} on PyTorch (large"}
    for library, shown in said.items():
        cases = [w for lib, w, call in rows if lib == library and call == "in place"]
        large = [w for w in cases if w.startswith(LARGE) and ", " not in w]
        found = [
            int(rows[library, w, "in place"]["us"].replace(",", ""))
            / int(rows[library, w, ""]["us"].replace(",", ""))
            for w in large
        ]
        assert shown.format(f"{min(found):.2f}", f"{max(found):.2f}") in sentence


def test_tensors_in_one_call_memory_and_files():
    text = plain(PAGE.read_text())
    many = [r for r in pages.rows(PAGE, "times") if r.get("weight", "").startswith("500 ")]
    numpy, torch = (r[KERAS].split()[0] for r in many if library_of(r) != "jax")
    assert f"apply: {numpy} on NumPy, {torch} on PyTorch" in text
    memory = [r for r in pages.rows(PAGE, "times") if "peak / weight" in r]
    assert max(float(r["peak / weight"]) for r in memory if r["call"] == "in place") <= 0.08
    assert "in place, at most 0.08 of the weight" in text
    speeds = [list(r.values()) for r in pages.rows(PAGE, "files")][1:]
    wide, half = ([float(v) for s in speeds for v in s[a : a + 2]] for a in (1, 3))
    assert f"{min(wide)} to {max(wide)} times as fast as a copy in float32" in text
    assert f"bfloat16 at {min(half)} to {max(half)} of a copy's speed" in text


def test_steps_of_training():
    text = PAGE.read_text().partition("## In a training loop")[2]
    shares = re.findall(r"^\| \d+ ((?:\| [\d.]+ % ){6})", text, flags=re.MULTILINE)
    torch, jax = [], []
    for row in shares:
        numbers = [float(n) for n in re.findall(r"[\d.]+", row)]
        torch, jax = [*torch, *numbers[:2]], [*jax, *numbers[2:]]
    said = plain(PAGE.read_text())
    assert f"add {min(torch)} to {max(torch)} % to a step on PyTorch" in said
    assert f"and {min(jax)} to {max(jax)} % on JAX" in said
    page = plain((ROOT / "docs/training/torch.md").read_text())
    assert f"{min(torch)} to {max(torch)} % of a step of Adam" in page
    beside = re.findall(r"^\| \d+ ((?:\| [\d.]+ ){6})\|$", text, flags=re.MULTILINE)
    numbers = [float(n) for row in beside for n in re.findall(r"[\d.]+", row)]
    assert f"a step takes {min(numbers)} to {max(numbers)} of the time" in said


def close(claimed: str, measured: float) -> bool:
    """Whether a number is the measured one, rounded to the digits that it has."""
    digits = len(claimed.partition(".")[2])
    return abs(float(claimed) - measured) <= 0.5 * 10**-digits + 1e-9


def test_the_speed_that_the_readme_claims():
    """One pair of numbers for NumPy and PyTorch; where it speaks of JAX, one for JAX."""
    number = r"([\d.]*\d)"
    pattern = rf"{number} to {number} of the time of Keras on large weights"
    on_jax = rf"(?: \(NumPy, PyTorch\), {number} to {number} on JAX under jit)?"
    claims = re.findall(pattern + on_jax, plain((ROOT / "README.md").read_text()))
    assert claims
    for low, high, jax_low, jax_high in claims:
        found = list(ratios(KERAS, "numpy torch", LARGE))
        assert close(low, min(found))
        assert close(high, max(found))
        if jax_low:
            found = list(ratios(UNDER_JIT, "jax", LARGE, PLAIN, JIT))
            assert close(jax_low, min(found))
            assert close(jax_high, max(found))


def test_how_far_below_the_bound_results_are():
    page = ROOT / "docs" / "numerics.md"
    table = pages.read(page, "numerics").partition("### UnitNorm")[0]
    rows = [line for line in table.splitlines() if "| float32 |" in line]
    found = [float(n) for row in rows for n in re.findall(r"-([\d.]+)(?: to |\s\|)", row)]
    assert f"by {min(found):.0f} to {max(found):.0f} roundoffs" in plain(page.read_text())


def test_thresholds_beside_optax():
    rows = [r for r in pages.rows(PAGE, "sets") if "30522" in r.get("beside optax, jit", "")]
    assert len(rows) == 8
    at_hand = [r[name].split()[0] for r in rows for name in ("NumPy", "PyTorch")]
    compiled = [r["JAX, jit"].split()[0] for r in rows]
    said = "{} to {} of the time of optax on NumPy and PyTorch, {} to {} on JAX"
    ends = (min(at_hand), max(at_hand), min(compiled), max(compiled))
    assert said.format(*ends) in plain(PAGE.read_text())


def test_what_sets_hold_is_what_was_measured():
    rows = pages.rows(PAGE, "memory of sets")
    at_hand = [float(row[name]) for row in rows for name in ("NumPy", "PyTorch")]
    assert f"at most {max(at_hand)} weights" in plain(PAGE.read_text())
    compiled = {round(float(row["JAX, jit"])) for row in rows}
    sums, *sorts = sorted(compiled - {0})
    said = f"{sums} weights for sums, and {sorts[0]} to {sorts[-1]} where"
    assert said in plain(PAGE.read_text())
    assert [plain(row["set"]) for row in rows] == list(memory.SETS)
    w = np.random.default_rng(0).standard_normal((4096, 1024), "float32")
    for row, constraints in zip(rows, memory.SETS.values(), strict=True):
        held = max(memory.beside(c, w, memory.numpy_peak) for c in constraints)
        assert held <= float(row["NumPy"]) + 0.1
