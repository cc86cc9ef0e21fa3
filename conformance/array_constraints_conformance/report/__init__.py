"""Reports of a run: JSON, Markdown, JUnit XML and one web page, all made from one record.

``record.schema.json`` says what a record holds, and ``record`` makes it of a run. The reports
need nothing but a record and the standard library.
"""

from .files import SCHEMA_VERSION, write
from .html import to_html
from .junit import to_junit
from .markdown import to_markdown

__all__ = ["SCHEMA_VERSION", "to_html", "to_junit", "to_markdown", "write"]
