"""A job as a backend sees it: a module to run, names and numbers."""

from dataclasses import dataclass, field
from pathlib import Path

from hala_hpc.core.resources import Resources


@dataclass(frozen=True)
class Job:
    """One program, or an array of it, each element in a job of its own.

    Every rank runs `python -m <module> <words>`, behind which an array puts the element's number.
    """

    name: str
    """Letters, digits, dot, dash and underscore, at most 64."""
    module: str
    arguments: tuple[str, ...]
    python: str
    """Interpreter of the environment that the job needs."""
    resources: Resources
    folder: Path
    """Where the job works and the backend keeps what it prints."""
    array_size: int | None = None
    """Elements of the array; None: a job that gets no number."""
    after_ok: tuple[str, ...] = ()
    """Ids of jobs that must have succeeded."""
    after_any: tuple[str, ...] = ()
    """Ids of jobs that must have ended, whatever the result."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables set for the job."""
    tries: int = 1
    """How often the program is started, in the same job, where a signal killed it."""
    setup: tuple[str, ...] = ()
    """Shell lines of the site's launcher, run before the job, e.g. `module load gcc`."""

    def command(self, array_index: int | None = None) -> list[str]:
        """What a rank runs, with the number of its element where it is known."""
        numbers = [] if array_index is None else [str(array_index)]
        return [self.python, "-u", "-m", self.module, *self.arguments, *numbers]
