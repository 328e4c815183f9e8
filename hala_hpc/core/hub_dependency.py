"""What jobs read that no node makes: a model, a data set, the data of a benchmark; is it there?

A login node fetches pieces, as compute nodes work offline. Dry run, launch, doctor and fetch look
at the same pieces with the same functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Kinds of piece that any stage may name with a reference, as they are told to people.
MODEL = "model"
DATA_SET = "data set"
KERNEL = "kernel"


@dataclass(frozen=True)
class HubSite:
    """Where the jobs of a launcher find what was fetched."""

    environment: Mapping[str, str]
    """Variables as the jobs have them: those of this process, the launcher's over them."""
    python: str
    """Interpreter of the environment main, which has the libraries that jobs read with."""
    work: Path
    """Folder of the results; it may not exist yet."""


@dataclass(frozen=True)
class HubDependency:
    """One thing to be fetched, as a look at the disk of this machine found it."""

    kind: str
    """For people: `model`, `data set`, or a word of the stage such as `task data`."""
    name: str
    """As the hub knows it, with what tells it apart: `owner/name`, `owner/name@revision`, or
    `owner/name, configuration ar`."""
    path: Path | None = None
    """Folder or file where jobs look for it; None if that is not known."""
    commit: str = ""
    """Commit of the hub that lies there; empty if none does or it is not recorded."""
    problems: tuple[str, ...] = ()
    """Why a job without a network could not read it, a line each, most important first; empty where
    nothing is known to be wrong."""

    @property
    def is_complete(self) -> bool:
        """Whether a job can read it without a network, as far as names and sizes tell."""
        return not self.problems

    @property
    def message(self) -> str:
        """`model owner/name: is not in the hub cache /scratch/hub` for people."""
        return f"{self.kind} {self.name}: {'; '.join(self.problems) or f'is in {self.path}'}"
