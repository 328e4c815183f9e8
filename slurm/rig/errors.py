"""The error of minislurm, and its messages to users."""

import sys


class RigError(Exception):
    """An error with its fix; `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def print_message(text: str) -> None:
    """Print a message to stderr; stdout is only for the line to export."""
    print("minislurm: " + text, file=sys.stderr, flush=True)
