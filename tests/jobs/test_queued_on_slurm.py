"""Pending jobs on a real SLURM: for drained nodes, and while their clone changes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clones import Clone
from command_line import CommandResult, launch, one_row_recipe
from job_states import states
from message_checks import assert_message

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import CONFIG, OK

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("minislurm"),
]
SITE = """
backend = "slurm"
{lines}
[resources]
cpus_per_rank = 1
mem_gb = 1
timeout_min = 5
options.partition = "low"
[gate]
mem_gb = 1
timeout_min = 5
{tables}
"""


def update(*arguments: str) -> None:
    """Change a node or a partition as an administrator does."""
    subprocess.run(["scontrol", "update", *arguments], check=True, timeout=WAIT_S)


@contextmanager
def away(*arguments: str, back: tuple[str, ...]) -> Iterator[None]:
    """Nodes or a partition that start no jobs until the block ends."""
    update(*arguments)
    try:
        yield
    finally:
        update(*back)


def arguments_for(folder: Path, lines: str = "", tables: str = "") -> list[str]:
    """The overrides of a launch of one node, `corpus`."""
    site = folder / "site.toml"
    site.write_text(SITE.format(lines=lines, tables=tables))
    return ["stage=all", one_row_recipe(folder), f"work={folder}/work", f"launcher={site}"]


def queued(ended: CommandResult, work: Path) -> Artifact:
    """The node whose jobs wait."""
    assert ended.code == OK, ended
    (folder,) = work.glob("corpus-*")
    artifact = Artifact(folder)
    assert set(states(artifact.job_ids()).values()) == {"pending"}
    return artifact


def wait_until_done(artifact: Artifact) -> None:
    wait_until(lambda: artifact.summary() or artifact.failure(), "the end of the node", pause_s=0.5)
    assert artifact.summary() is not None, artifact.failure()


def test_nodes_that_are_drained_for_a_maintenance_are_queued_for(tmp_path: Path) -> None:
    drained = ("nodename=node[1-4]", "state=drain", "reason=maintenance")
    work = tmp_path / "work"
    with away(*drained, back=("nodename=node[1-4]", "state=resume")):
        ended = launch(*arguments_for(tmp_path))
        artifact = queued(ended, work)
        assert_message(ended.err, "warning")
        other = tmp_path / "other"
        other.mkdir()
        too_large = launch(*arguments_for(other, tables="[node.corpus.resources]\nmem_gb = 999"))
        assert too_large.code == CONFIG, "no node is so large, whether it is up or not"
    wait_until_done(artifact)


def test_a_partition_that_is_down_is_queued_for_and_its_jobs_run_the_code_that_was_launched(
    tmp_path: Path,
) -> None:
    clone, work = Clone(tmp_path / "clone"), tmp_path / "work"
    with away("partitionname=low", "state=down", back=("partitionname=low", "state=up")):
        ended = clone.run(*arguments_for(tmp_path, "snapshot = true"))
        artifact = queued(ended, work)
        assert_message(ended.err, "partition low is DOWN")
        clone.append("hala_hpc/stages/prepare.py", "\n\nraise SystemExit('pulled')\n")
        clone.commit()
    wait_until_done(artifact)
    summary = artifact.summary()
    assert summary is not None
    assert (summary.commit, summary.because) == (clone.first, ())
