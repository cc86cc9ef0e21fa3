"""The constraints by the names that people type, and what the help says of each."""

from __future__ import annotations

import dataclasses
import difflib
import re
import textwrap
from typing import Any

import click
from click.shell_completion import CompletionItem

from array_constraints.config import BUILT_IN, get, strict_json
from array_constraints.config.built_in import ALIASES
from array_constraints.config.dialects import snake
from array_constraints.constraint import Constraint
from array_constraints.forms.nesting import Nesting
from array_constraints.typing import name_of


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name).lower()


CONSTRAINTS = {
    snake(name): cls
    for name, cls in BUILT_IN.items()
    if cls is not Constraint and not issubclass(cls, Nesting)
}
"""The constraints by name, such as ``max_norm``; the identity, which allows all, is none.

Those that are made of others have no options: they are given by their config.
"""


class ConstraintName(click.ParamType[Any]):
    """The name of a constraint: ``max_norm``, ``max-norm`` and ``MaxNorm`` are the same.

    Or its config, in JSON.
    """

    name = "name"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("{"):
            try:
                return get(strict_json.parsed(value))
            except (TypeError, ValueError) as error:
                self.fail(f"{value!r} is no config of a constraint: {error}", param, ctx)
        if _plain(value) in {_plain(name_of(cls)) for cls in _MADE_OF_OTHERS}:
            self.fail(f"{value} is given by its config: {_EXAMPLE}", param, ctx)
        names = {_plain(name): name for name in CONSTRAINTS}
        names |= {_plain(a): snake(n) for n, own in ALIASES.items() for a in own}
        if _plain(value) not in names:
            near = difflib.get_close_matches(_plain(value), names, 1)
            known = f"known are {', '.join(CONSTRAINTS)}"
            hint = f"did you mean {names[near[0]]}?" if near else known
            self.fail(f"unknown constraint {value!r}: {hint}", param, ctx)
        return names[_plain(value)]

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in CONSTRAINTS if name.startswith(incomplete)]


_MADE_OF_OTHERS = [cls for cls in BUILT_IN.values() if issubclass(cls, Nesting)]
_EXAMPLE = (
    '--constraint \'{"class_name": "Relaxed", "config": {"constraint": "max_norm"}}\', or by '
    "--rules"
)
_LEFT_OUT = {"shape"}
"""The parameters that follow from others: a mask in a file has its shape."""


def parameters() -> dict[str, list[str]]:
    """Return the parameters, each with the constraints that have it: ``max_norm [2]``."""
    found: dict[str, list[str]] = {}
    for name, cls in CONSTRAINTS.items():
        for field in _fields(cls):
            default = _default(field.default).strip()
            found.setdefault(field.name, []).append(f"{name} [{default}]" if default else name)
    return found


def texts() -> set[str]:
    """Return the names of the parameters that are words, not numbers."""
    return {f.name for cls in CONSTRAINTS.values() for f in _fields(cls) if f.type == "str"}


def truth_values() -> set[str]:
    """Return the names of the parameters that are true or false."""
    return {f.name for cls in CONSTRAINTS.values() for f in _fields(cls) if f.type == "bool"}


def described() -> str:
    """Return a text of all constraints: their parameters, defaults, and what they ask for."""
    lines = ["\b", "Constraints, with the defaults of their parameters:"]
    for name, cls in CONSTRAINTS.items():
        flags = [f"--{f.name.replace('_', '-')}{_default(f.default)}" for f in _fields(cls)]
        lines.append(f"  {' '.join([name, *flags])}")
        lines += textwrap.indent(textwrap.fill(_summary(cls), 68), " " * 6).splitlines()
    lines += ["", "\b", "Made of others, and given by their config in JSON, or in --rules:"]
    for cls in _MADE_OF_OTHERS:
        lines.append(f"  {name_of(cls)}")
        lines += textwrap.indent(textwrap.fill(_summary(cls), 68), " " * 6).splitlines()
    return "\n".join(lines)


def _fields(cls: Any) -> list[Any]:
    return [field for field in dataclasses.fields(cls) if field.name not in _LEFT_OUT]


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return ""
    if isinstance(value, tuple):
        return f" {','.join(map(str, value))}"
    return f" {value}".lower() if value is None or isinstance(value, bool) else f" {value}"


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0].replace("``", "")
