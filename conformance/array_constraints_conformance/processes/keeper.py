"""The process between the suite and the one that judges: it reports how that one ended.

Nothing of the implementation runs here, and nothing but the standard library is imported.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any


def main() -> None:
    """Start the process that judges; the first line of standard input holds the request."""
    words = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = words["path"]
    os.set_inheritable(words["report"], False)
    judge = os.fork()
    if not judge:
        _judge(words)
    _say(words, judge=judge)
    threading.Thread(target=_end_with_the_suite, args=(judge,), daemon=True).start()
    _, status = os.waitpid(judge, 0)
    _say(words, ended=os.waitstatus_to_exitcode(status))


def _say(words: dict[str, Any], **message: int) -> None:
    """Send a message, on a line of its own whatever the other process has begun."""
    line = json.dumps({"token": words["token"], **message})
    os.write(words["report"], f"\n{line}\n".encode())


def _judge(words: dict[str, Any]) -> None:
    """Judge, and end without running the exit handlers of the implementation."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    try:
        from array_constraints_conformance.processes import child

        child.main(words)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _end_with_the_suite(judge: int) -> None:
    """End all processes as soon as the suite, which holds the other end, is gone."""
    os.read(0, 1)
    os.kill(judge, signal.SIGKILL)  # which may have left the group
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
