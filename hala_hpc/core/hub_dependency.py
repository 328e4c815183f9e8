"""What jobs read from the hub: a model, a data set, data of a benchmark; and whether it is there.

A login node fetches these dependencies, as compute nodes are offline. Dry run, launch, doctor and
fetch check the same dependencies with the same functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Kinds of dependency that any stage may name with a reference, as shown to people.
MODEL = "model"
DATA_SET = "data set"
KERNEL = "kernel"


@dataclass(frozen=True)
class HubSite:
    """Where the jobs of a launcher find fetched files."""

    environment: Mapping[str, str]
    """Variables of the jobs: those of this process, overridden by the launcher's."""
    python: str
    """Interpreter of the environment main, which has the libraries that jobs read with."""
    work: Path
    """Folder of the results; it may not exist yet."""


@dataclass(frozen=True)
class HubDependency:
    """One thing to be fetched, with its state on the disk of this machine."""

    kind: str
    """For people: `model`, `data set`, or a term of the stage such as `task data`."""
    name: str
    """As the hub names it, with what distinguishes it: `owner/name`, `owner/name@revision`, or
    `owner/name, configuration ar`."""
    path: Path | None = None
    """Folder or file where jobs look for it; None if unknown."""
    commit: str = ""
    """Commit of the hub on the disk; empty if there is none or it is not recorded."""
    problems: tuple[str, ...] = ()
    """Why a job without a network could not read it, one line each, most important first; empty if
    no problem is known."""

    @property
    def is_complete(self) -> bool:
        """Whether a job can read it without a network, judged by names and sizes."""
        return not self.problems

    @property
    def message(self) -> str:
        """`model owner/name: is not in the hub cache /scratch/hub` for people."""
        return f"{self.kind} {self.name}: {'; '.join(self.problems) or f'is in {self.path}'}"
