"""A shell on a terminal, to which keys are typed."""

import os
import pty
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from benchmarks.common.waiting import WAIT_S

#: Ctrl-U: the line that is being typed is thrown away.
CLEAR_LINE = "\x15"
#: Rung between the letters of a completed argument.
BELL = "\a"


class TypingShell:
    """An interactive shell without the settings of its user."""

    def __init__(self, command: list[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(command[0], command, {**os.environ, **environment, "TERM": "dumb"})
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.terminal)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def run(self, command: str) -> None:
        """Give a line and wait until the shell has done it."""
        # In two parts, so that the echo of the command is not taken for its output.
        self.type(f"{command}; echo shell-'is-ready'\n", "shell-is-ready")

    def type(self, keys: str, expected: str) -> None:
        """Type keys and wait until a text is on the screen; fails with the screen otherwise."""
        self.output = ""
        os.write(self.terminal, keys.encode())
        until = time.monotonic() + WAIT_S
        while expected not in self.output:
            assert time.monotonic() < until, self.output
            if select.select([self.terminal], [], [], 1)[0]:
                shown = os.read(self.terminal, 4096).decode(errors="replace")
                self.output += shown.replace(BELL, "")

    def complete(self, typed: str, expected: str) -> None:
        """Type a line and a tabulator, wait for what it becomes, and throw it away."""
        self.type(f"{typed}\t", expected)
        os.write(self.terminal, CLEAR_LINE.encode())
