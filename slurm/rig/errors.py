"""How minislurm ends early, and how it talks to people."""

import sys


class RigError(Exception):
    """What is wrong and what to type; `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def say(text: str) -> None:
    """Tell a person; stdout is for the line to export alone."""
    print("minislurm: " + text, file=sys.stderr, flush=True)
