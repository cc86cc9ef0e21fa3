"""The pages of the documentation load nothing from the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from built_pages import loaded_from_elsewhere

DOCS = Path(__file__).parents[1] / "docs"


def test_what_a_page_loads_from_the_network_is_found(tmp_path):
    (tmp_path / "page.html").write_text(
        '<link rel="stylesheet" href="https://cdn.example/a.css">'
        '<script src="//cdn.example/a.js"></script>'
        '<img src="picture.svg"><a href="https://example.org">a link is not loaded</a>'
        '<link rel="next" href="https://example.org">'
    )
    (tmp_path / "style.css").write_text("@font-face { src: url('https://cdn.example/f.woff') }")
    assert list(loaded_from_elsewhere(tmp_path)) == [
        "page.html: https://cdn.example/a.css",
        "page.html: //cdn.example/a.js",
        "style.css: https://cdn.example/f.woff",
    ]


def test_a_page_with_formulas_loads_nothing(tmp_path):
    """With the settings of the documentation; ``nox -s docs`` looks at all of its pages."""
    for name in ("furo", "latex2mathml", "myst_parser"):
        pytest.importorskip(name)
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    (source / "index.md").write_text("# Page\n\n$u$ and\n\n$$\n\\frac{a}{b} < 1\n$$\n")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", str(DOCS)]
    subprocess.run([*command, str(source), str(built)], check=True)
    assert (built / "index.html").read_text().count("<math ") == 2
    assert list(loaded_from_elsewhere(built)) == []
