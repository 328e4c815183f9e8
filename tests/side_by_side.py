"""Run all tests in two groups at once: those on SLURM, which mostly wait, and the others, two files
at a time (pytest-xdist).

Before them run those that are marked `alone`: they bound the CPU that a command takes, which grows
with what runs beside it. Those that are marked `long` are left to `make test-long`.

`python tests/side_by_side.py [arguments of pytest]`. The others are shown while they run, those on
SLURM once both have ended. Arguments with -m choose a group themselves: then there is one. Ends
with pytest's exit code of the group that ended worse. Every test has a limit of its own (see
pyproject.toml); a group that has not ended after HALA_TEST_LIMIT_MIN minutes, 75 unless set, gets
SIGINT, prints what was running, and has failed.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
#: pytest's exit code where no test was chosen.
NO_TESTS = 5
#: Minutes of all groups together; and seconds that a group may take to end after SIGINT.
LIMIT_MIN = float(os.environ.get("HALA_TEST_LIMIT_MIN", "75"))
ENDING_S = 180
ALONE = "alone and not long"
ON_SLURM = "slurm and not alone and not long"
OTHERS = "not slurm and not alone and not long"
#: How the others run: the tests of a file share its fixtures. `-n 0` among the arguments: in turn.
SIDE_BY_SIDE = ["-n", "2", "--dist", "loadfile"]


def main(arguments: Sequence[str]) -> int:
    """Run the groups; the worst exit code of them."""
    deadline = time.monotonic() + 60 * LIMIT_MIN
    if any(argument.startswith("-m") for argument in arguments):
        return end_of(subprocess.Popen(pytest(arguments), cwd=ROOT), deadline)
    alone = end_of(start(arguments, ALONE, None), deadline)
    with tempfile.TemporaryFile() as output_of_slurm:
        running: list[subprocess.Popen[bytes]] = []
        # Before they start: they would ignore what this process ignores.
        end_with(running)
        running += [start(arguments, ON_SLURM, output_of_slurm), start(arguments, OTHERS, None)]
        codes = {alone, *(end_of(process, deadline) for process in reversed(running))}
        print("\n\nThe tests on SLURM, which ran at the same time:\n", flush=True)
        output_of_slurm.seek(0)
        sys.stdout.buffer.write(output_of_slurm.read())
    return max(codes - {NO_TESTS}, default=NO_TESTS)


def pytest(arguments: Sequence[str]) -> list[str]:
    """The command that runs tests with the Python of this one."""
    return [sys.executable, "-m", "pytest", *arguments]


def start(
    arguments: Sequence[str], group: str, output: IO[bytes] | None
) -> "subprocess.Popen[bytes]":
    """Start one group; nothing is printed by it where `output` takes that."""
    # All would write the cache with what failed last: the group that is largest does.
    more = SIDE_BY_SIDE if group == OTHERS else ["-p", "no:cacheprovider"]
    command = pytest([*more, *arguments, "-m", group])
    return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output and subprocess.STDOUT)


def end_of(process: "subprocess.Popen[bytes]", deadline: float) -> int:
    """Wait for the end of a group; its exit code, 1 where it had to be ended."""
    try:
        return abs(process.wait(max(0, deadline - time.monotonic())))
    except subprocess.TimeoutExpired:
        print(f"not done after {LIMIT_MIN:g} min, SIGINT sent: {process.args!r}", flush=True)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return 1


def end_with(running: Sequence["subprocess.Popen[bytes]"]) -> None:
    """When this process gets a signal to end, let the groups end, and their clusters with them."""

    def pass_on(*_: object) -> None:
        for process in running:
            process.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, pass_on)
    # A terminal gives it to the groups as well; a second one would cut off their end.
    signal.signal(signal.SIGINT, lambda *_: None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
