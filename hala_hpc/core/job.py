"""A job as a backend submits it: a module to run, its arguments, resources and dependencies."""

from dataclasses import dataclass, field
from pathlib import Path

from hala_hpc.core.resources import Resources


@dataclass(frozen=True)
class Job:
    """One program, or an array of it with each array task in a job of its own.

    Every rank runs `python -m <module> <arguments>`; an array appends the index of its task.
    """

    name: str
    """Letters, digits, dot, dash and underscore, at most 64."""
    module: str
    arguments: tuple[str, ...]
    python: str
    """Interpreter of the environment that the job needs."""
    resources: Resources
    folder: Path
    """Working directory, where the backend also writes the job's output."""
    array_size: int | None = None
    """Tasks of the array; None for a job that gets no index."""
    after_ok: tuple[str, ...] = ()
    """Ids of jobs that must have succeeded."""
    after_any: tuple[str, ...] = ()
    """Ids of jobs that must have ended, whatever their result."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables set for the job."""
    tries: int = 1
    """How often the program is started in the same job if a signal kills it."""
    setup: tuple[str, ...] = ()
    """Shell lines of the site's launcher, run before the job, e.g. `module load gcc`."""

    wrapper: tuple[str, ...] = ()
    """What enters the image that has the interpreter, e.g. `apptainer exec hala.sif`."""
    srun_flags: tuple[str, ...] = ()
    """More flags of srun."""

    def command(self, array_index: int | None = None) -> list[str]:
        """The command of a rank, with the index of its array task if it is known."""
        numbers = [] if array_index is None else [str(array_index)]
        program = [*self.wrapper, self.python, "-u", "-m", self.module]
        return [*program, *self.arguments, *numbers]
