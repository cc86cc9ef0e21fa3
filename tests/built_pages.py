"""Fail where a page of the built documentation loads anything from the network.

``python tests/built_pages.py docs/_build/html``; ``nox -s docs`` runs it after the build.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

REMOTE = re.compile(r"(https?:)?//")
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
IN_STYLES = re.compile(r"""(?:@import\s+|url\()\s*['"]?((?:https?:)?//[^'")\s;]+)""")
NOT_LOADED = {"canonical", "next", "prev", "search", "index", "author"}  # of <link rel="...">


class Loads(HTMLParser):
    """Collect the addresses that a page loads; links for readers to follow are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(LOADING.get(tag, ""))
        if tag == "link" and set((values.get("rel") or "").split()) <= NOT_LOADED:
            return
        if address and REMOTE.match(address):
            self.found.append(address)


def loaded_from_elsewhere(folder: Path) -> Iterator[str]:
    """Yield each page or style sheet with an address that it loads from the network."""
    for path in sorted(folder.rglob("*.html")):
        page = Loads()
        text = path.read_text("utf-8")
        page.feed(text)
        yield from (f"{path.name}: {address}" for address in page.found)
        yield from (f"{path.name}: {address}" for address in IN_STYLES.findall(text))
    for path in sorted(folder.rglob("*.css")):
        found = IN_STYLES.findall(path.read_text("utf-8"))
        yield from (f"{path.name}: {address}" for address in found)


if __name__ == "__main__":
    remote = list(loaded_from_elsewhere(Path(sys.argv[1])))
    sys.exit("loaded from the network:\n" + "\n".join(remote) if remote else None)
