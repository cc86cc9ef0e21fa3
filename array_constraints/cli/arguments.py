"""The arguments and options of the commands: what is constrained, how, and by whom."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from array_constraints.cli.constraints import (
    CONSTRAINTS,
    ConstraintName,
    parameters,
    texts,
    truth_values,
)
from array_constraints.files import CHUNK_SIZE, MOST_WORKERS, PATIENCE
from array_constraints.files.masks import mask_of_file
from array_constraints.layers import LAYOUTS
from array_constraints.parameters import INCOMING, number_from_text

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_VALUES = {
    "axis": "1, or 0,1, or none, or incoming: all weights into one unit",
    "bound": "a number, or one for each slice, with commas between",
    "increasing": "true or false",
    "lower": "a number of diagonals, or none for all",
    "mask": "a .npy file of truth values",
    "max_value": "a number, inf, or one for each slice, with commas between",
    "min_value": "a number, -inf, or one for each slice, with commas between",
    "normal": "a number, or one for each entry of a slice, with commas between",
    "order": "1, 2 or inf",
    "part": "lower or upper",
    "radius": "a number, or one for each slice, with commas between",
    "total": "a number, or one for each slice, with commas between",
    "unit": "norm or rms",
    "upper": "a number of diagonals, or none for all",
    "value": "a number, or one for each slice, with commas between",
}
"""The values of parameters that are not just a number."""


class _Bytes(click.ParamType[int]):
    """A number of bytes, with a unit or without."""

    name = "bytes"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?) *([kmgt]?i?)b?", str(value).lower())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is not a number of bytes such as 64MiB or 100MB", param, ctx)
        return int(Decimal(found[1]) * _UNITS[found[2]])


_LAYOUT = click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    help="Whose layers these are, for --axis incoming [as the file tells].",
)
_TRANSPOSED = click.option(
    "--transposed",
    multiple=True,
    callback=lambda _, __, names: () if names == ("none",) else names or None,
    help="Pattern of names of transposed convolutions, or none; repeatable. For --axis "
    "incoming, where a file of PyTorch does not tell them.",
)
_SELECTING = [
    click.option(
        "--select", multiple=True, help="Name, or pattern such as '*.weight' [all]; repeatable."
    ),
    click.option("--exclude", multiple=True, help="Pattern of names left out; repeatable."),
    click.option(
        "--ndim", multiple=True, type=click.IntRange(0), help="Only with so many dimensions."
    ),
    click.option(
        "--min-size", type=click.IntRange(0), help="Only with at least so many entries."
    ),
]
_SKIPPING = [
    click.option(
        "--strict",
        is_flag=True,
        help="Fail where a pattern selects what the constraint does not fit, or excludes "
        "nothing.",
    ),
    click.option("--verbose", is_flag=True, help="List what is skipped, and why."),
]
_WHAT = [
    click.argument("source", metavar="IN"),
    click.option(
        "--constraint",
        type=ConstraintName(),
        help=f"One of {', '.join(CONSTRAINTS)}, or a config in JSON; see 'array-constraints "
        "--help'.",
    ),
    *(
        click.option(
            f"--{name.replace('_', '-')}",
            name,
            help=f"Of {', '.join(names)}: {_VALUES.get(name, 'a number')}.",
        )
        for name, names in parameters().items()
    ),
    _LAYOUT,
    _TRANSPOSED,
    *_SELECTING,
    click.option(
        "--rules",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File, .toml or .json, of rules: several constraints, each with its weights.",
    ),
    *_SKIPPING,
]
"""Options that say what is constrained."""

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
_READING = [
    click.option(
        "--follow-links", is_flag=True, help="Follow links out of a folder, wherever they lead."
    ),
    click.option(
        "--chunk-size", type=_Bytes(), default=CHUNK_SIZE, help="Bytes read at a time [64MiB]."
    ),
    click.option(
        "--workers", type=click.IntRange(1, MOST_WORKERS), help="Threads [one a processor]."
    ),
]
_PROGRESS = click.option(
    "--progress",
    type=click.Choice(["auto", "none"]),
    default="auto",
    help="Progress bar on a terminal, or none.",
)
_HOW = [
    *_READING,
    click.option("--scheduler", help="Address of a Dask cluster, such as tcp://host:8786."),
    click.option(
        "--patience",
        type=float,
        default=PATIENCE,
        help="Seconds without a sign of life after which a cluster is given up "
        f"[{PATIENCE:g}].",
    ),
    _JSON,
    _PROGRESS,
]
"""Options that say how a file is read, by whom, and how that is shown."""

_RESULT = [
    click.argument("target", metavar="OUT", type=click.Path(path_type=Path)),
    click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing."),
    click.option("--resume", is_flag=True, help="Go on where an earlier run was stopped."),
    click.option(
        "--overwrite", is_flag=True, help="Replace OUT, and what a run has left of it."
    ),
]
"""Arguments of a command that writes a result."""


def _adding(arguments: list[Any]) -> Callable[[Command], Command]:
    """Return what adds arguments to a command, so that its help lists them in this order."""

    def added(command: Command) -> Command:
        for argument in reversed(arguments):
            command = argument(command)
        return command

    return added


of_a_run = _adding(_WHAT + _HOW)
of_a_result = _adding(_RESULT)
of_a_check = _adding(
    [
        click.option(
            "--slices",
            type=click.IntRange(0),
            default=0,
            metavar="N",
            help="List the N worst of each weight.",
        )
    ]
)
of_a_listing = _adding(
    [
        click.argument("source", metavar="FILE"),
        click.option("--norms", is_flag=True, help="Print how the norms of slices lie."),
        click.option(
            "--axis", help="With --norms: of a slice, as for a constraint [incoming]."
        ),
        _LAYOUT,
        _TRANSPOSED,
        *_SELECTING,
        *_SKIPPING,
        *_READING,
        _JSON,
        _PROGRESS,
    ]
)


def value_of(name: str, text: str) -> Any:
    """Return a parameter of a constraint from its text: a word, a mask, or a number."""
    if name == "mask":
        return mask_of_file(text)
    if name in truth_values() and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    return text if name in texts() else value_from_text(text)


_TRUTH = {"true": True, "false": False}


def value_from_text(text: str) -> Any:
    """Return a parameter of a constraint: a number, numbers with commas between, or none."""
    if text.lower() == "none":
        return None
    if text.lower() == INCOMING:
        return INCOMING
    bracketed = text[:1] + text[-1:] in ("()", "[]")
    parts = [part.strip() for part in (text[1:-1] if bracketed else text).split(",")]
    if len(parts) > 1 and not parts[-1]:  # as in (0,)
        parts.pop()
    numbers = [number_from_text(part) for part in parts]
    return tuple(numbers) if "," in text else numbers[0]
