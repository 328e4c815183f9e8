"""Tell how far a run is: `python -m hala_hpc.status work=runs/demo [format=json]`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hala_hpc.command import read_line, report_mistakes
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import NO_INPUT, OK, Retry, UserError, closest
from hala_hpc.core.files import read_json
from hala_hpc.core.words import split_words
from hala_hpc.node_progress import NodeProgress, progress_of
from hala_hpc.plan import Step, make_plan
from hala_hpc.submit import job_ids

WORDS = {
    "work": "folder of a run (default: runs/<recipe>)",
    "recipe": "recipe whose run is meant, where work is not given",
    "format": "text or json (default: text)",
}


@dataclass(frozen=True)
class NodeStatus:
    """How far one node is."""

    name: str
    stage: str
    state: str
    """done, partial, running, waiting, failed, new or stale."""
    units: int
    units_done: int
    rows_in: int
    rows_out: int
    rows_rejected: int
    progress: NodeProgress | None = None
    """How far it is and what time is left, while it runs."""


def status(arguments: Sequence[str]) -> int:
    """Print the state of every node of a run."""
    if any(word in ("--help", "-h", "help") for word in arguments):
        print(f"{__doc__}\n")
        print("\n".join(f"  {word:<8} {meaning}" for word, meaning in WORDS.items()))
        return OK
    words = split_words(list(arguments))
    mistakes = [
        f"unknown word {key}={value}: {closest(key, list(WORDS), 'words')}"
        for key, value in words.items()
        if key not in WORDS
    ]
    if words.get("format", "text") not in ("text", "json"):
        mistakes.append(f"format={words['format']}: write text or json")
    if "work" not in words and "recipe" not in words:
        mistakes.append("name a run: work=<folder> or recipe=<name>")
    if mistakes:
        raise UserError(mistakes)
    nodes = read_status(words)
    if words.get("format") == "json":
        print(json.dumps({"nodes": [asdict(node) for node in nodes]}, ensure_ascii=False))
    else:
        print_table(nodes)
    return OK


def read_status(words: dict[str, str]) -> list[NodeStatus]:
    """Status of the newest line of a work folder, or with `recipe=` of that recipe's nodes."""
    recipe = words.get("recipe", "demo")
    work = Path(words.get("work") or f"runs/{Path(recipe).stem}").expanduser().absolute()
    if "recipe" in words:
        line = read_line(["stage=all", f"recipe={recipe}", f"work={work}"])
        return recipe_status(list(make_plan(line.nodes, work).values()))
    run = read_json(work / "run.json")
    if run is None:
        raise UserError(
            f"work={work} holds no run: run.json is missing; start one with "
            "python -m hala_hpc.launch stage=all work=... recipe=...",
            NO_INPUT,
        )
    artifacts = {node["name"]: Artifact(work / node["artifact"]) for node in run["nodes"]}
    jobs = living_jobs(list(artifacts.values()))
    return [node_status(node, artifacts[node["name"]], jobs) for node in run["nodes"]]


def recipe_status(steps: list[Step]) -> list[NodeStatus]:
    """Status of every node of a recipe: new or stale where nothing was begun."""
    jobs = living_jobs([step.artifact for step in steps])
    found = []
    for step in steps:
        node = {"name": step.name, "stage": step.node.stage.name, "units": step.units}
        status = node_status(node, step.artifact, jobs)
        begun = step.state not in ("new", "stale")
        found.append(status if begun else replace(status, state=step.state))
    return found


def node_status(node: dict[str, Any], artifact: Artifact, jobs: dict[str, str]) -> NodeStatus:
    """Status of a node from its folder, and from the scheduler where it has living jobs."""
    done = len(artifact.done_units())
    state = state_of(artifact, done, jobs)
    return NodeStatus(
        node["name"],
        node["stage"],
        state,
        node["units"],
        done,
        *row_counts(artifact),
        progress_of(artifact, node["units"]) if state == "running" else None,
    )


def state_of(artifact: Artifact, done: int, jobs: dict[str, str]) -> str:
    """One word. Marks on the disk come before what the scheduler says."""
    if artifact.summary() is not None:
        return "done"
    states = {jobs[i] for i in job_ids(artifact) if i in jobs}
    if "running" in states or artifact.is_alive():
        return "running"
    if states:
        return "waiting"
    if artifact.failure_file.exists():
        return "failed"
    return "partial" if done else "new"


def row_counts(artifact: Artifact) -> tuple[int, int, int]:
    """Rows in, out and rejected of the units that have a mark."""
    summary = artifact.summary()
    marks = [summary] if summary else [artifact.mark(unit) or {} for unit in artifact.done_units()]
    rows_in, rows_out, rejected = (
        sum(mark.get(key, 0) for mark in marks) for key in ("rows_in", "rows_out", "rows_rejected")
    )
    return rows_in, rows_out, rejected


def living_jobs(artifacts: list[Artifact]) -> dict[str, str]:
    """State of every job of these nodes that the scheduler knows; one question for all."""
    unfinished = [a for a in artifacts if a.summary() is None]
    ids = [i for artifact in unfinished for i in job_ids(artifact)]
    if not ids:
        return {}
    from hala_hpc.backends.slurm import SlurmBackend

    try:
        return SlurmBackend().states(ids)
    except Retry as error:
        print(
            f"the scheduler does not answer, so this is what the disk tells: {error}",
            file=sys.stderr,
        )
        return {}


def print_table(nodes: list[NodeStatus]) -> None:
    """A table for people."""
    from tabulate import tabulate

    rows = [
        [
            node.name,
            node.stage,
            node.state,
            f"{node.units_done}/{node.units}",
            node.rows_in or "-",
            node.rows_out or "-",
            node.rows_rejected or "-",
            node.progress.words() if node.progress else "",
            node.progress.left() if node.progress else "",
        ]
        for node in nodes
    ]
    heads = ["node", "stage", "state", "units", "rows in", "out", "rejected", "progress", "left"]
    running = any(node.progress for node in nodes)
    shown = len(heads) if running else len(heads) - 2
    print(tabulate([row[:shown] for row in rows], heads[:shown]))
    print(f"\n{sum(node.state == 'done' for node in nodes)} of {len(nodes)} nodes are done")


def main() -> None:
    """Command line of status."""
    sys.exit(report_mistakes(status, sys.argv[1:]))


if __name__ == "__main__":
    main()
