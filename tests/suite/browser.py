"""A report in a real browser, by what its reader can see and do."""

from __future__ import annotations

import re

from sample_record import LIBRARIES
from selenium.webdriver.common.by import By

SHOWN_TEXT = """
const shown = [];
const UNSEEN = ".visually-hidden, .skip, script";
for (const node of document.querySelectorAll("body *")) {
  const text = [...node.childNodes].filter((child) => child.nodeType === 3)
    .map((child) => child.data.trim()).join("");
  if (!text || !node.checkVisibility() || node.closest(UNSEEN)) continue;
  const behind = [];
  for (let each = node; each; each = each.parentElement)
    behind.push(getComputedStyle(each).backgroundColor);
  shown.push([text, getComputedStyle(node).color, behind]);
}
return shown;
"""

# Pairs of neighbouring words on one line of a block of text, with the distance between them
# in widths of a space: of the text itself, and not of what a flex or grid container lays out.
GAPS = """
const spaced = [];
for (const block of document.querySelectorAll(arguments[0])) {
  if (!block.checkVisibility() || block.closest(".visually-hidden, .skip")) continue;
  const words = [];
  const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    for (const { index, 0: word } of node.data.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const [first] = range.getClientRects();
      if (first) words.push({ word, first, last: [...range.getClientRects()].at(-1) });
    }
  }
  const brush = document.createElement("canvas").getContext("2d");
  brush.font = getComputedStyle(block).font;
  const space = brush.measureText(" ").width;
  words.slice(1).forEach(({ word, first }, i) => {
    const before = words[i];
    const middle = (first.top + first.bottom) / 2;
    const same = middle > before.last.top && middle < before.last.bottom;
    const gap = same ? (first.left - before.last.right) / space : null;
    spaced.push([before.word, word, gap, first.top - before.first.top]);
  });
}
return spaced;
"""


class Page:
    """A report in the browser, by what a reader can see and do."""

    def __init__(self, driver, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, fragment: str = "") -> Page:
        self.driver.get("about:blank")
        self.driver.get(self.url + fragment)
        return self

    def all(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str):
        (element,) = self.all(selector)
        return element

    def run(self, script: str, *arguments: object):
        return self.driver.execute_script(script, *arguments)

    def rows(self) -> list[str]:
        links = self.all("tr:not(.scope) .about a")
        return [each.text for each in links if each.is_displayed()]

    def cell(self, requirement: str, library: str):
        (row,) = [r for r in self.all("tr:not(.scope)") if r.text.startswith(f"{requirement} ")]
        cells = row.find_elements(By.TAG_NAME, "td")
        return cells[list(LIBRARIES).index(library)].find_element(By.TAG_NAME, "button")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def focused(self) -> str:
        return self.run("return document.activeElement.textContent.trim()")

    def chip(self, outcome: str):
        (chip,) = [each for each in self.all(".chip") if outcome in each.text]
        return chip

    def texts(self) -> list[tuple[str, str, list[str]]]:
        """Every text that is shown, its colour, and the colours behind it, nearest first."""
        return [tuple(each) for each in self.run(SHOWN_TEXT)]

    def gaps(self, selector: str) -> list[tuple[str, str, float | None, float]]:
        """Neighbouring words, the spaces between them (None: on another line), the way down."""
        return [tuple(each) for each in self.run(GAPS, selector)]

    def shown(self) -> str:
        return self.one("#shown").text

    def dialog_is_open(self) -> bool:
        return self.run("return document.querySelector('dialog').open")

    def media(self, **features: str) -> None:
        """Emulate what a reader prefers; what is not named is back at its default."""
        named = {f"prefers-{k.replace('_', '-')}": v for k, v in features.items()}
        named.setdefault("prefers-reduced-motion", "reduce")
        emulated = {"features": [{"name": k, "value": v} for k, v in named.items()]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        metrics["mobile"] = width < 500
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def words(cell) -> str:
    """The text of a cell of the matrix: library (on a phone), symbol, outcome, count."""
    parts = cell.find_elements(By.CSS_SELECTOR, ".where, .badge, .count")
    return " ".join(" ".join(part.text.split()) for part in parts if part.is_displayed())


def numbers(colour: str) -> list[float]:
    red, green, blue, *alpha = map(float, re.findall(r"[\d.]+", colour))
    return [red, green, blue, *(alpha or [1])]


def luminance(colour: list[float]) -> float:
    parts = [c / 255 for c in colour[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour: str, behind: list[str]) -> float:
    """The WCAG contrast ratio of a text with the first opaque background behind it."""
    backgrounds = [numbers(each) for each in behind]
    background = next(each for each in backgrounds if each[3] == 1)
    assert all(each[3] in (0, 1) for each in backgrounds)
    dark, light = sorted([luminance(numbers(colour)), luminance(background)])
    return (light + 0.05) / (dark + 0.05)
