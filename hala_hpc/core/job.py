"""A job as a backend sees it: a function, names and numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hala_hpc.core.resources import Resources


@dataclass(frozen=True)
class Job:
    """One array of calls of a module-level function, each in a job of its own.

    `call(*arguments[i])` runs in element i, once per rank; only strings and numbers travel.
    """

    name: str
    """Letters, digits, dot, dash and underscore, at most 64."""
    call: Callable[..., None]
    arguments: tuple[tuple[str | int, ...], ...]
    """One tuple for each element of the array."""
    python: str
    """Interpreter of the environment that the job needs."""
    resources: Resources
    folder: Path
    """Where the backend keeps its own files and the logs of the job."""
    after_ok: tuple[str, ...] = ()
    """Ids of jobs that must have succeeded."""
    after_any: tuple[str, ...] = ()
    """Ids of jobs that must have ended, whatever the result."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables set for the job."""
    setup: tuple[str, ...] = ()
    """Shell lines of the site's launcher, run before the job, e.g. `module load cuda`."""
