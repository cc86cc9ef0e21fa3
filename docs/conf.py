"""Sphinx configuration."""

from html import escape

from docutils import nodes
from latex2mathml.converter import convert

import array_constraints

project = "array_constraints"
author = "The array_constraints developers"
copyright = "2026, The array_constraints developers"  # noqa: A001
version = release = array_constraints.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_title = "array_constraints"
nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
doctest_global_setup = "from array_constraints import *"
trim_doctest_flags = True
html_math_renderer = "mathml"  # browsers show it without scripts, fonts or a network


def visit_math(self, node):
    """Write a formula as MathML, its source as the tooltip."""
    block = node.tagname == "math_block"
    source = node.astext()
    mathml = convert(source, display="block" if block else "inline")
    tag = "div" if block else "span"
    title = escape(" ".join(source.split()), quote=True)
    self.body.append(f'<{tag} class="math" title="{title}">{mathml}</{tag}>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
