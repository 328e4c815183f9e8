"""Read the work folder of a run without any code of the product."""

import json
from pathlib import Path
from typing import Any

from benchmarks.common.moving_files import retry_if_moved

#: Content of a file that does not exist or is being replaced.
NOTHING: dict[str, Any] = {}


class NodeFolder:
    """The folder of one node of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.folder.name.rpartition("-")[0]

    @property
    def summary(self) -> dict[str, Any]:
        """`summary.json`; empty where there is none."""
        return read(self.folder / "summary.json")

    @property
    def failure(self) -> dict[str, Any]:
        """`failure.json`; empty where there is none."""
        return read(self.folder / "failure.json")

    @property
    def is_done(self) -> bool:
        """Whether the marker of the node exists."""
        return (self.folder / "summary.json").exists()

    @property
    def has_failed(self) -> bool:
        """Whether a failure of the node is recorded."""
        return (self.folder / "failure.json").exists()

    def count_markers(self) -> int:
        """Count the units with a marker."""
        return retry_if_moved(lambda: len(list((self.folder / "done").glob("[0-9]*.json"))))

    def list_state_files(self) -> list[str]:
        """Return the names of finished work of unfinished units."""
        found = retry_if_moved(lambda: list((self.folder / "kept").glob("*/*")))
        return sorted(f"{path.parent.name}/{path.name}" for path in found if path.name[0] != ".")

    def job_ids(self) -> list[str]:
        """Return the ids of the last recorded jobs: workers, gate."""
        jobs = read(self.folder / "jobs.json")
        return [jobs[key] for key in ("workers", "gate") if jobs.get(key)]

    def rounds(self) -> list[dict[str, Any]]:
        """Return all rounds, the first one first."""
        return [read(path) for path in sorted((self.folder / "rounds").glob("[0-9]*.json"))]

    def job_names(self) -> dict[str, str]:
        """Return the name of each of the last recorded jobs by its id."""
        jobs, rounds = read(self.folder / "jobs.json"), self.rounds()
        if not jobs or len(rounds) < jobs["round"]:
            return {}
        name = f"{self.folder.name}-{rounds[jobs['round'] - 1].get('key')}"
        names = {jobs.get("workers"): name, jobs.get("gate"): f"gate-{name}"}
        return {number: name for number, name in names.items() if number}


def node_folders(work: Path) -> dict[str, NodeFolder]:
    """Return the folders of all nodes of a run by node name."""
    found = [NodeFolder(path) for path in sorted(work.glob("*-*")) if path.is_dir()]
    return {node.name: node for node in found}


def waiting_for_room(work: Path) -> set[str]:
    """Return the names of the nodes that wait for SLURM's job limit."""
    nodes = read(work / "feed.json").get("nodes", [])
    return {node["folder"].rpartition("-")[0] for node in nodes}


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file does not exist."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return NOTHING
    return value
