"""The options of the command line, and the request that they make."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NoReturn

from array_constraints_conformance.libraries import installed
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.processes.request import Request
from array_constraints_conformance.report.record import NAME, VERSION
from array_constraints_conformance.report.summary import visible
from array_constraints_conformance.trial.profiles import PROFILES

_SCOPES = {"map": "map", "keras": "Keras API", "this": "this API"}
_EPILOG = """examples:
  %(prog)s --constraints keras.constraints --xp numpy --quick
  %(prog)s --constraints my_library.constraints --xp torch --xp jax.numpy+x64+jit --report out
  %(prog)s --constraints array_constraints --matrix --quick
  %(prog)s --constraints array_constraints --against keras.constraints --xp numpy

exit status: 0 when nothing is "not met" or "gap closed", 1 when something is,
2 for a wrong call
"""


class WrongCall(ValueError):
    """Arguments that do not fit together."""


class _Parser(argparse.ArgumentParser):
    """A parser that says on one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{NAME}: {one_line(message)} (--help lists the options)\n")


def one_line(message: object) -> str:
    """Return a message without line breaks, and without what a terminal would obey."""
    return visible(" ".join(str(message).split()))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = _Parser(
        prog=f"python -m {NAME}",
        description="Judge an implementation of weight constraints by a specification.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_subject(made)
    _add_laws(made)
    _add_effort(made)
    _add_files(made)
    made.add_argument("--list", action="store_true", help="list the requirements")
    made.add_argument("--version", action="version", version=f"{NAME} {VERSION}")
    made.set_defaults(profile="default")
    return made


def _add_subject(made: argparse.ArgumentParser) -> None:
    """Add the options that name the module, and the libraries that it is judged on."""
    made.add_argument(
        "--constraints", metavar="MODULE", help="the module with MaxNorm, NonNeg, ..."
    )
    where = made.add_mutually_exclusive_group()
    where.add_argument(
        "--xp",
        metavar="LIBRARY",
        action="append",
        help="an array library, as torch or jax.numpy+x64+jit; repeatable; default: numpy",
    )
    where.add_argument(
        "--matrix",
        action="store_true",
        help="every array library that is installed, in every mode",
    )


def _add_laws(made: argparse.ArgumentParser) -> None:
    """Add the options that choose scopes, requirements, constraints and dtypes."""
    made.add_argument(
        "--scope",
        choices=_SCOPES,
        action="append",
        help="judge this scope; repeatable; by default those that the module offers",
    )
    for option, metavar, judged in (
        ("--only", "ID", "requirement"),
        ("--constraint", "NAME", "constraint"),
    ):
        made.add_argument(
            option,
            metavar=metavar,
            action="append",
            default=[],
            help=f"judge this {judged}; repeatable",
        )
    made.add_argument(
        "--dtype",
        choices=FORMATS,
        action="append",
        default=[],
        help="judge with this dtype; repeatable; default: all that the library has",
    )


def _add_effort(made: argparse.ArgumentParser) -> None:
    """Add the options for how thoroughly, where and how long to judge."""
    size = made.add_mutually_exclusive_group()
    for profile, words in (
        ("quick", "fewer draws"),
        ("thorough", "many draws, longer slices"),
    ):
        size.add_argument(
            f"--{profile}", action="store_const", const=profile, dest="profile", help=words
        )
    made.add_argument(
        "--device", help="where arrays are made, as cuda:0; the library's own choice by default"
    )
    made.add_argument(
        "--processes",
        metavar="N",
        type=_count,
        default=1,
        help="judge so many libraries at a time, each in a process of its own; 1 by default",
    )
    limits = ", ".join(f"{one.timeout:g} ({one.name})" for one in PROFILES.values())
    made.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="stop the process that judges after so many seconds for one requirement of one "
        f"constraint, or to import the module; by default {limits}",
    )
    made.add_argument("--seed", type=int, default=0, help="what is drawn; 0 by default")


def _add_files(made: argparse.ArgumentParser) -> None:
    """Add the options for known gaps, reports, comparisons and golden vectors."""
    made.add_argument(
        "--known-gaps",
        metavar="FILE",
        help="a TOML file of known gaps, or the name of one in the package",
    )
    made.add_argument(
        "--report",
        metavar="DIR",
        type=Path,
        help="write report.json, .md, .xml and .html there",
    )
    made.add_argument(
        "--all",
        action="store_true",
        help="show every requirement and counterexample; else 40 lines at most",
    )
    made.add_argument(
        "--against",
        metavar="MODULE",
        help="compare with a second implementation instead of judging",
    )
    made.add_argument(
        "--golden",
        metavar="FILE",
        type=Path,
        help="write golden vectors as JSON, for other languages",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"invalid: {text!r} is no whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"invalid: {text!r} is no number of seconds above 0")
    return number


def request_of(options: argparse.Namespace) -> Request:
    """Return the request that the options make."""
    return Request(
        options.constraints,
        installed() if options.matrix else list(dict.fromkeys(options.xp or ["numpy"])),
        options.profile,
        options.seed,
        [_SCOPES[scope] for scope in options.scope] if options.scope else None,
        options.only,
        options.constraint,
        options.dtype,
        options.device,
        options.against,
    )
