# ruff: noqa: RUF001  # a minus sign is meant
r"""A law in plain text, for a terminal: ``‖P(w)‖ ≤ c`` for ``$\lVert P(w)\rVert \le c$``.

A law is Markdown with TeX between dollar signs, as the page shows it (``law.js``). The TeX is
that of the specification; a formula is converted as a whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_SYMBOLS = {
    "beta": "β", "delta": "δ", "varepsilon": "ε", "sigma": "σ", "tau": "τ", "sum": "Σ",
    "rho": "ρ",
    "infty": "∞", "log": "log", "max": "max", "min": "min", "le": "≤", "ge": "≥", "in": "∈",
    "cdot": "·",
    "lVert": "‖", "rVert": "‖", "langle": "⟨", "rangle": "⟩", "lceil": "⌈", "rceil": "⌉",
    ",": " ", "left": "", "right": "",
}  # fmt: skip
_CLOSE_UP = {"lVert", "langle", "lceil", "sqrt", "left", "right", "mathsf", "operatorname"}
_RAISED = dict(zip("0123456789+-−nkT", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿᵏᵀ", strict=True))
_LOWERED = dict(zip("0123456789+-−nki", "₀₁₂₃₄₅₆₇₈₉₊₋₋ₙₖᵢ", strict=True))
_TOKENS = re.compile(r"\\([A-Za-z]+|.)|(\s+)|(.)", re.DOTALL)
_MARKUP = re.compile(r"(`[^`]+`)|\$([^$]+)\$|\*\*(.+?)\*\*|\*([^*\s][^*]*)\*")


class UnknownTex(ValueError):
    """TeX that the specification does not use."""


def plain(law: str) -> str:
    r"""Return a law without markup; its mathematics are written in Unicode.

    A formula with TeX that is not known here is shown as it is written, as code.

    >>> plain(r"*Finite*: $\lVert P(w)\rVert \le \sqrt n\,u + 2^{-11}$ for `NonNeg`.")
    'Finite: ‖P(w)‖ ≤ √n u + 2⁻¹¹ for `NonNeg`.'
    """

    def shown(match: re.Match[str]) -> str:
        code, tex, strong, emphasis = match.groups()
        return code or (_formula(tex) if tex else plain(strong or emphasis))

    return _MARKUP.sub(shown, law)


def _formula(tex: str) -> str:
    try:
        return mathematics(tex)
    except (UnknownTex, RecursionError):
        return f"`{tex}`"


def mathematics(tex: str) -> str:
    r"""Return TeX in Unicode, on one line, or raise :class:`UnknownTex`.

    >>> mathematics(r"\frac{b}{\lVert w\rVert}\left(I - w w^{\mathsf T}\right)")
    '(b/‖w‖)(I − w wᵀ)'
    """
    tokens = _TOKENS.findall(tex)
    text = _row(tokens)
    if tokens:
        raise UnknownTex(f"a brace is closed that was not opened: {tex!r}")
    return re.sub(r"\s+", " ", text).strip()


_Tokens = list[tuple[str, str, str]]


def _row(tokens: _Tokens) -> str:
    """Take the tokens up to a closing brace, and return their text."""
    text = ""
    while tokens and tokens[0][2] != "}":
        text += _atom(tokens)
    return text


def _atom(tokens: _Tokens) -> str:
    """Take one symbol, group or command with its arguments, and return its text."""
    command, space, character = _next(tokens)
    if command:
        return _command(command, tokens)
    if character == "{":
        text = _row(tokens)
        _next(tokens)
        return text
    if character in ("^", "_"):
        return _script(_atom(tokens), character)
    return space or {"-": "−", "'": "′"}.get(character, character)


def _next(tokens: _Tokens) -> tuple[str, str, str]:
    if not tokens:
        raise UnknownTex("something is missing at the end")
    return tokens.pop(0)


def _command(name: str, tokens: _Tokens) -> str:
    if name in _CLOSE_UP:
        while tokens and tokens[0][1]:  # the space only ends the name
            tokens.pop(0)
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    if name not in _WITH_ARGUMENTS:
        raise UnknownTex(f"\\{name} is not known in plain text")
    count, write = _WITH_ARGUMENTS[name]
    return write(*(_atom(tokens) for _ in range(count)))


def _script(text: str, mark: str) -> str:
    table = _RAISED if mark == "^" else _LOWERED
    if text and table.keys() >= set(text):
        return "".join(table[character] for character in text)
    raise UnknownTex(f"there is no small {text!r}")


def _fraction(above: str, below: str) -> str:
    return f"({_grouped(above, '[+−]')}/{_grouped(below)})"


def _grouped(text: str, operators: str = "[ +−]") -> str:
    r"""Return text in parentheses if it has operators, a space between factors among them.

    >>> mathematics(r"\frac{1 + u}{2\,u}")
    '((1 + u)/(2 u))'
    """
    return f"({text})" if re.search(operators, text) else text


def _root(text: str) -> str:
    return f"√{_grouped(text)}"


def _itself(text: str) -> str:
    return text


_WITH_ARGUMENTS: dict[str, tuple[int, Callable[..., str]]] = {
    "frac": (2, _fraction),
    "sqrt": (1, _root),
    "mathsf": (1, _itself),
    "operatorname": (1, _itself),
}
