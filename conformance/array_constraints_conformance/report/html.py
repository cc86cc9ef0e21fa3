"""The report as one web page."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from string import Template

from .outcomes import OUTCOMES
from .summary import SILENT, Record, named, visible

SCRIPTS = ("elements.js", "law.js", "details.js", "matrix.js", "page.js")


def to_html(record: Record) -> str:
    """Return one page that needs no network: style, script and the record are inside.

    The script makes text nodes of what the record holds, never markup, and the page's content
    security policy lets no other script run and nothing be fetched.
    """
    style = _read("page.css")
    script = "\n".join(map(_read, SCRIPTS))
    return Template(_read("page.html")).substitute(
        title=escape(visible(f"Conformance of {named(record['subject'])}")),
        policy=f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}",
        style=style,
        script=script,
        record=_embedded(record),
        outcomes=_embedded([outcome._asdict() for outcome in OUTCOMES]),
        silent=_embedded(SILENT),
    )


def _read(name: str) -> str:
    package = __package__ or "report"
    return (files(package) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _embedded(data: object) -> str:
    """Return ASCII JSON that cannot end, or open, anything in HTML."""
    text = json.dumps(data, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
