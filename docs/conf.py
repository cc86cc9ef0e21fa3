"""Sphinx configuration."""

import array_constraints

project = "array_constraints"
author = "The array_constraints developers"
copyright = "2026, The array_constraints developers"  # noqa: A001
version = release = array_constraints.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = [
    "_build",
    "files_table.md",
    "keras_golden.md",
    "numerics_table.md",
    "performance_table.md",
]
html_theme = "furo"
html_title = "array_constraints"
nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
doctest_global_setup = "from array_constraints import *"
trim_doctest_flags = True
