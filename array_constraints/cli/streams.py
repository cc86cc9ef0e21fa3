"""The standard streams of the commands, which may be closed, full, or have no reader left."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from array_constraints.layers import OR_BY_KIND

VIOLATED, USAGE, STOPPED, FAILED = 1, 2, 3, 4
"""Exit codes; 0 is for constraints that hold."""

_SET = re.compile(
    r"(?<![\w/.'-])(resume|overwrite|strict|follow_links|layout|axis|ndim|min_size)"
    r"=('?)(\w+)\2"
)


_TRANSPOSED = "if none is transposed add --transposed none, else --transposed PATTERN"


def as_flags(text: str) -> str:
    """Return a message with options as they are typed: ``--resume`` for ``resume=True``."""

    def flag(found: re.Match[str]) -> str:
        name = found[1].replace("_", "-")
        value = {"True": "", "None": " none"}.get(found[3], f" {found[3]}")
        return f"--{name}{value}"

    text = text.replace("say by transposed= which are so", _TRANSPOSED)
    text = text.replace(OR_BY_KIND, "")  # a file tells no kinds
    return with_flags(_SET.sub(flag, text), ["chunk_size", "exclude", "patience"])


def with_flags(text: str, names: Iterable[str]) -> str:
    """Return a text with some names as flags: ``--max-value`` for ``max_value``.

    A name that is a common word, too, is one where it is said what it has to be, or in a list
    of parameters.
    """
    words = {name: name.replace("_", "-") for name in names}
    plain = "|".join(name for name in words if "_" in name or name in _ALWAYS)
    common = "|".join(name for name in words if "_" not in name and name not in _ALWAYS)
    found = rf"(?<![\w/.'-])(?:{plain})(?![\w/.'-])"
    if common:
        found += (
            rf"|(?:(?<=parameter )|(?<=it has )|(?<=^)|(?<=: ))(?:{common})(?= must|\[|$|,|:)"
        )
        found += rf"|(?<=, )(?:{common})(?=,|$)" if "it has " in text else ""
    return re.sub(found, lambda name: f"--{words[name[0]]}", text)


_ALWAYS = ("axis", "exclude", "patience", "rate")


def printable(text: str) -> str:
    """Return a text in one line, with escapes for what would speak to a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in "; ".join(text.split("\n")))


def say(text: str) -> None:
    """Print a line for people; where nobody reads it, the exit code says the same."""
    try:
        click.echo(printable(text), err=True)
    except OSError:
        _silence(sys.stderr)


def _open_streams() -> None:
    """Open the standard streams that are closed: files of weights would get their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names in whatever encoding


@contextlib.contextmanager
def output(left: str = "") -> Iterator[None]:
    """Say where output cannot be written. A reader who goes away early has seen enough."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        say(f"Error: the standard output cannot be written: {error.strerror or error}{left}")
        sys.exit(FAILED)


def _silence(stream: TextIO) -> None:
    """Drop what a stream holds and is still given: at exit, Python would fail to write it."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Commands(click.Group):
    """Commands that end with one line of what is wrong, wherever the output goes."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command that the arguments name, and exit."""
        _open_streams()
        try:
            with output():
                return super().main(*arguments, **options)
        except Exception:  # a fault of this package: not a violation
            traceback.print_exc()
            sys.exit(FAILED)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _literally():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _literally():
            return super().invoke(ctx)


@contextlib.contextmanager
def _literally() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        said = "\n".join(map(printable, error.message.split("\n")))
        error.message = said  # type: ignore[misc]
        try:
            error.show()
        except OSError:  # the exit code says the same
            _silence(sys.stderr)
        raise click.exceptions.Exit(error.exit_code) from None
