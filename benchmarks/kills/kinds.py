"""Ways to kill a job: at a given time, or at its n-th system call of a kind."""

import contextlib
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.common.waiting import wait_until
from hala_hpc.core.errors import RETRY

#: System calls that create or change files, with all names by which libraries call them.
CALLS = {
    "write": "write,pwrite64,writev",
    "fsync": "fsync,fdatasync",
    "link": "link,linkat",
    "rename": "rename,renameat,renameat2",
    "unlink": "unlink,unlinkat,rmdir",
    "mkdir": "mkdir,mkdirat",
}
#: Seconds after which a job that has not ended counts as a defect.
END_LIMIT_S = 300
#: Exit codes of a killed job: of its child (75), or of itself, as Python or a shell reports it.
KILLED = (RETRY, -9, 137)
#: The processes of a job that a kill at a given time ends.
TARGETS = ("child", "supervisor", "both")

Starter = Callable[[list[str]], "subprocess.Popen[bytes]"]


@dataclass(frozen=True)
class Outcome:
    """How a job ended that was the target of a kill."""

    killed: bool
    code: int


class KillMethod(Protocol):
    """One way to kill a job."""

    @property
    def kind(self) -> str:
        """The name in the report."""
        ...

    def apply(self, start: Starter) -> Outcome:
        """Start a job (with a prefix to its command), kill it, and wait for its end."""
        ...


@dataclass(frozen=True)
class AtInstant:
    """`kill -9`, `after_s` seconds after the job's start, or after its next sign in a file."""

    target: str
    after_s: float
    sign: Path | None = None

    @property
    def kind(self) -> str:
        """The name in the report."""
        return f"instant:{self.target}"

    def apply(self, start: Starter) -> Outcome:
        """Start a job, kill it or its child or both, and wait for its end."""
        size = size_of(self.sign)
        job = start([])
        wait_until(
            lambda: self.sign is None or size_of(self.sign) != size or job.poll() is not None,
            f"the first answer in {self.sign}",
            END_LIMIT_S,
            pause_s=0.002,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(self.after_s)
        was_running = job.poll() is None
        if was_running:
            kill(job.pid, self.target)
        code = job.wait(END_LIMIT_S)
        return Outcome(was_running and code in KILLED, code)


@dataclass(frozen=True)
class AtCall:
    """SIGKILL instead of the n-th system call of a kind of some thread of the job."""

    call: str
    number: int

    @property
    def kind(self) -> str:
        """The name in the report."""
        return self.call

    def apply(self, start: Starter) -> Outcome:
        """Start the job under strace and wait for its end."""
        names = CALLS[self.call]
        inject = f"inject={names}:signal=KILL:when={self.number}"
        job = start([*STRACE, "-o", "/dev/null", "-e", f"trace={names}", "-e", inject])
        code = job.wait(END_LIMIT_S)
        return Outcome(code in KILLED, code)


STRACE = ["strace", "-f", "-qq"]


def calls_made(start: Starter, into: Path) -> dict[str, int]:
    """Return how often the busiest thread of an undisturbed job makes each call."""
    names = ",".join(CALLS.values())
    job = start([*STRACE, "-o", str(into), "-e", f"trace={names}"])
    assert job.wait(END_LIMIT_S) == 0, "an undisturbed job failed"
    made: Counter[tuple[str, str, str]] = Counter()
    for line in into.read_text(errors="replace").splitlines():
        if found := re.match(r"(\d+) +(\w+)\(", line):
            for call, also in CALLS.items():
                if found[2] in also.split(","):
                    made[call, found[2], found[1]] += 1
    return {call: max(n for (c, _, _), n in made.items() if c == call) for call in CALLS}


def kill(pid: int, target: str) -> None:
    """Kill a supervisor, or what it started, or both."""
    import psutil  # type: ignore[import-untyped]

    with contextlib.suppress(psutil.NoSuchProcess):
        job = psutil.Process(pid)
        children = job.children(recursive=True)
        # Before it has a child, there is only itself to kill.
        victims = {"child": children or [job], "supervisor": [job], "both": [job, *children]}
        for victim in victims[target]:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()


def size_of(path: Path | None) -> int:
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path and path.exists() else 0
