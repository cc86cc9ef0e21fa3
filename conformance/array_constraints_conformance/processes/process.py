"""Processes that judge, each with a time limit, and the messages that they send."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

from array_constraints_conformance.processes.request import Request
from array_constraints_conformance.report.summary import visible
from array_constraints_conformance.trial.profiles import PROFILES

_KEEPER = Path(__file__).with_name("keeper.py")
_TICK = 0.05  # seconds between two looks at the clock and at the process
_AT_ONCE = 2**16  # bytes that are read at a time
_IMPORTING = 60.0  # seconds that the module has, unless a limit is given
_OWN_IMPORTS = 600.0  # seconds: those of the suite and the libraries are not judged


@dataclass(frozen=True)
class Limits:
    """Limits in seconds: for each requirement, and to import the module."""

    judging: float
    importing: float

    @classmethod
    def of(cls, profile: str, given: float | None) -> Limits:
        """Return the limit that is given, or those of a profile."""
        judging = PROFILES[profile].timeout if given is None else given
        return cls(judging, max(judging, _IMPORTING) if given is None else given)


class Process:
    """A process that judges, and its messages.

    It leads a session of its own, which is ended as a whole. Only lines with its token are
    believed; what is printed there comes out on standard error.
    """

    def __init__(
        self,
        request: Request,
        limits: Limits,
        stop: Event,
        *,
        imports: bool = True,
        start: int = 0,
    ) -> None:
        self.limits, self.stop, self.token = limits, stop, secrets.token_hex(16)
        self.stage, self.limit = " before the module was imported", _OWN_IMPORTS
        self.ending, self._closed = "", False
        self._judge: tuple[tuple[Callable[[int, int], None], int], ...] = ()
        self._report, report = os.pipe()
        self._output, output = os.pipe()
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        self._keeper = subprocess.Popen(  # noqa: S603
            [sys.executable, *flags, str(_KEEPER)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[report],
            start_new_session=True,
        )
        os.close(report)
        os.close(output)
        self._open = [self._report, self._output]
        self.messages = self._messages()
        words = {"path": sys.path, "report": report, "token": self.token, "imports": imports}
        self._tell({**words, "request": asdict(request), "start": start})

    def _tell(self, words: dict[str, Any]) -> None:
        """Send the request; the pipe stays open, for its end tells that the suite is gone."""
        if self._keeper.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended, and will be seen to
                self._keeper.stdin.write(json.dumps(words).encode() + b"\n")
                self._keeper.stdin.flush()

    @property
    def how_it_ended(self) -> str:
        """Words for how the process ended, and in which stage."""
        return self.ending + self.stage

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process, and whatever it has started in its session."""
        if self._closed:
            return
        self._closed = True
        self._kill()
        self._keeper.wait()
        if self._keeper.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._keeper.stdin.close()
        os.close(self._report)
        os.close(self._output)

    def _kill(self) -> None:
        for kill, which in ((os.killpg, self._keeper.pid), *self._judge):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended
                kill(which, signal.SIGKILL)

    def _messages(self) -> Iterator[dict[str, Any]]:
        """Yield the messages of the process; after the last, ``ending`` tells why."""
        heard, rest = time.monotonic(), b""
        while not self.ending and not self.stop.is_set():
            gone = self._keeper.poll() is not None
            if gone:  # without having said how the process ended, which may be going on
                self._kill()
            *lines, rest = (rest + self._read()).split(b"\n")
            for message in map(self._understood, filter(None, lines)):
                self._follow(message)
                if message is None or self.ending:
                    break
                yield message
                heard = time.monotonic()
            if not self.ending and gone and not lines:
                self.ending = f"what waits for the process {_how(self._keeper.returncode)}"
            elif not self.ending and time.monotonic() - heard > self.limit:
                self.ending = f"the process was stopped after {self.limit:g} s"

    def _follow(self, message: dict[str, Any] | None) -> None:
        """Note from a message the stage that the process has reached."""
        if message is None:
            self.ending = "something else was written into the record"
        elif "judge" in message:  # it may leave the group
            self._judge = ((os.kill, message["judge"]), (os.killpg, message["judge"]))
        elif "ended" in message:
            self._judge, self.ending = (), f"the process {_how(message['ended'])}"
        elif "started" in message:
            self.stage, self.limit = " while the module was imported", self.limits.importing
        elif "imported" in message:
            self.stage, self.limit = " while the libraries were made", _OWN_IMPORTS
        elif "plan" in message:
            self.stage, self.limit = "", self.limits.judging

    def _read(self) -> bytes:
        """Return the bytes that have come, and show what was printed."""
        ready, _, _ = select.select(self._open, [], [], _TICK)
        if not self._open:
            time.sleep(_TICK)
        found = {}
        for pipe in ready:
            found[pipe] = os.read(pipe, _AT_ONCE)
            if not found[pipe]:
                self._open.remove(pipe)
        if printed := found.get(self._output):
            sys.stderr.write(visible(printed.decode(errors="backslashreplace")))
        return found.get(self._report, b"")

    def _understood(self, line: bytes) -> dict[str, Any] | None:
        try:
            message = json.loads(line)
            known = message.pop("token") == self.token
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return message if known else None


def _how(status: int | None) -> str:
    """Return how a process ended, in words."""
    if status is None or status >= 0:
        return f"ended with status {status}"
    names = {int(one): one.name for one in signal.Signals}
    return f"was ended by signal {-status} ({names.get(-status, 'unknown')})"
