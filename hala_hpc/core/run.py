"""The run in a work folder, for commands after the launch: its newest launch and all its nodes."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import find_owner
from hala_hpc.core.errors import NO_INPUT, UserError, suggest_name
from hala_hpc.core.paths import expand_path
from hala_hpc.core.records import NodeConfig, RunRecord
from hala_hpc.core.sharing import follow_sharing


@dataclass(frozen=True)
class RunNode:
    """One node of a run."""

    name: str
    stage: str
    units: int
    artifact: Artifact
    gpu_hours: float | None = None
    """Estimated GPU hours in all, for the newest launch; None if unknown."""


@dataclass(frozen=True)
class Run:
    """The newest launch of a work folder and its nodes, inputs first."""

    work: Path
    overrides: dict[str, str]
    """Overrides of the launch command, as given."""
    recipe: str
    nodes: list[RunNode]

    @property
    def launch_command(self) -> str:
        """The command that resumes this run."""
        return format_launch_command(self.overrides)

    def find_nodes(self, name: str) -> list[RunNode]:
        """The node of this name, else all nodes of the stage of this name. Raises: UserError."""
        by_name = [node for node in self.nodes if node.name == name]
        found = by_name or [node for node in self.nodes if node.stage == name]
        if not found:
            valid = sorted({name for node in self.nodes for name in (node.name, node.stage)})
            raise UserError(f"node={name}: {suggest_name(name, valid, 'nodes and stages')}")
        return found

    def find_node(self, name: str) -> RunNode:
        """The one node that a name means. Raises: UserError if it means several."""
        found = self.find_nodes(name)
        if len(found) > 1:
            names = ", ".join(node.name for node in found)
            raise UserError(f"node={name} means several: write one of {names}")
        return found[0]


def resolve_work_folder(overrides: Mapping[str, str]) -> Path:
    """The folder that `work=` or `recipe=` means. Raises: UserError if neither is given."""
    if not overrides.get("work") and not overrides.get("recipe"):
        raise UserError("name a run: work=<folder> or recipe=<name>")
    recipe = overrides.get("recipe", "")
    return expand_path("work", overrides.get("work") or f"runs/{Path(recipe).stem}").absolute()


def run_file(work: Path) -> Path:
    """Path of the record of the newest launch in a work folder."""
    return work / "run.json"


def read_run(work: Path) -> Run:
    """Read the newest run of a work folder; files of this process are then shared as those of it.

    Raises: UserError (NO_INPUT) if there is none.
    """
    follow_sharing(work)
    found = RunRecord.read(run_file(work))
    if found is None:
        raise UserError(
            f"work={work} holds no run: run.json is missing; start one with "
            "python -m hala_hpc.launch stage=all work=... recipe=... launcher=...",
            NO_INPUT,
        )
    nodes = [
        RunNode(
            node.name,
            node.stage,
            node.units,
            Artifact(work / node.artifact),
            node.gpu_hours,
        )
        for node in found.nodes
    ]
    return Run(
        work,
        resolve_overrides(work, found.overrides),
        found.recipe,
        nodes,
    )


def recipe_copy(work: Path, recipe: str) -> Path:
    """Where a shared run has a copy of its recipe, for members who cannot read the file."""
    return work / "recipes" / Path(recipe).name


def resolve_overrides(work: Path, given: dict[str, str]) -> dict[str, str]:
    """The overrides of a launch for the user of this process.

    For another member of the group they name no launcher: setup lines and interpreter are those of
    the member's own one. A recipe that cannot be read is replaced by its copy.
    """
    found = {**given, "work": str(work)}
    if find_owner(run_file(work)) in (None, os.geteuid()):
        return found
    found.pop("launcher", None)
    recipe = found.get("recipe", "")
    copy = recipe_copy(work, recipe)
    if os.sep in recipe and copy.is_file() and not os.access(recipe, os.R_OK, effective_ids=True):
        found["recipe"] = str(copy)
    return found


def all_nodes(run: Run) -> list[RunNode]:
    """Every node that was begun in the folder: those of the newest launch, then older ones.

    Older ones have the name of their folder, as one name may have several results.
    """
    newest = {node.artifact.folder.name for node in run.nodes}
    begun = [Artifact(path.parent) for path in sorted(run.work.glob("*/config.json"))]
    others = {one: one.config() for one in begun if one.folder.name not in newest}
    return run.nodes + [
        RunNode(artifact.folder.name, config.stage, config.units, artifact)
        for artifact, config in others.items()
        if config
    ]


def input_folders(config: NodeConfig | None) -> list[str]:
    """Names of the artifact folders that a node reads, from its `config.json`."""
    return config.input_folders if config else []


def describe_result_fix(path: Path) -> str:
    """The fix for a file that cannot be read: a result of a run is made again, another copied."""
    for folder in path.absolute().parents:
        if Artifact(folder).config_file.is_file() and run_file(folder.parent).is_file():
            name = folder.name.rpartition("-")[0]
            arguments = [f"work={folder.parent}", f"node={name}", "repair=true"]
            line = shlex.join(["python", "-m", "hala_hpc.verify", *arguments])
            return f"run `{line}`, then run the launch command again"
    return "copy it again"


def format_launch_command(overrides: Mapping[str, str]) -> str:
    """The `launch` command with these overrides, quoted for a shell."""
    given = [f"{key}={value}" for key, value in overrides.items() if key != "dry_run"]
    return shlex.join(["python", "-m", "hala_hpc.launch", *given])
