"""States of nodes, with stand-ins of SLURM's commands that print its output."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm, on_path

from hala_hpc.backends.slurm.backend import Objections, SlurmBackend
from hala_hpc.backends.slurm.node_states import (
    exclude_node_for_pending,
    find_candidate_nodes,
    find_recovered_nodes,
)
from hala_hpc.core.errors import JobRefused, NodesUnavailable, SchedulerUnavailable
from hala_hpc.core.job import Job
from hala_hpc.core.records import ExcludedNode
from hala_hpc.core.resources import Resources

pytestmark = pytest.mark.kinds

REFUSAL = (
    "sbatch: error: Batch job submission failed: Requested node configuration is not available"
)
#: Two partitions; `low` is the default one.
NODES = """low*|node1|idle
low*|node2|mix
low*|node3|drain
low*|node4|down*
low*|node5|idle*
low*|node6|alloc
gpu|node7|down
gpu|node8|unk*
"""
NODE_LINES = """NodeName=node1 State=IDLE BootTime=2026-11-29T08:00:00
NodeName=node2 State=MIXED+PLANNED BootTime=2026-11-01T08:00:00
NodeName=node3 State=IDLE+DRAIN BootTime=2026-11-29T08:00:00
NodeName=node4 State=DOWN*+NOT_RESPONDING BootTime=None
NodeName=node5 State=IDLE* BootTime=2026-11-29T08:00:00
NodeName=node6 State=ALLOCATED+MAINTENANCE BootTime=2026-11-29T08:00:00
"""


class Cluster(FakeSlurm):
    """Stand-ins for SLURM's commands."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.add("srun", "exit 1")
        self.add(
            "scontrol", f'case "$*" in ping) echo "at here is UP";; *) cat {folder}/show;; esac'
        )
        self.add("sinfo", f"cat {folder}/nodes")
        self.add("sbatch", f"echo '{REFUSAL}' >&2; exit 1")
        (folder / "nodes").write_text(NODES)
        (folder / "show").write_text(NODE_LINES)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(on_path(tmp_path / "commands", monkeypatch))


def job(folder: Path, **options: str) -> Job:
    return Job(
        name="test",
        module="hala_hpc.worker",
        arguments=(),
        python=sys.executable,
        resources=Resources(options=options),
        folder=folder / "jobs",
    )


@pytest.mark.usefixtures("cluster")
def test_the_nodes_that_a_job_may_have_are_those_that_its_options_leave() -> None:
    usable = {name for name, is_up in find_candidate_nodes({}).usable.items() if is_up}
    assert usable == {"node1", "node2", "node6"}
    left = find_candidate_nodes({"exclude": "node[1-2],node9"})
    assert (left.all_nodes, set(left.usable)) == (6, {"node3", "node4", "node5", "node6"})
    assert set(find_candidate_nodes({"partition": "gpu,low", "nodelist": "node[6-7]"}).usable) == {
        "node6",
        "node7",
    }
    assert find_candidate_nodes({"partition": "gpu"}).is_away
    assert not find_candidate_nodes({"partition": "nowhere"}).is_away


@pytest.mark.usefixtures("cluster")
def test_no_more_than_half_of_a_partition_is_left_out_and_what_a_job_needs_stays() -> None:
    assert find_candidate_nodes({}).max_excluded() == 3
    assert find_candidate_nodes({}).max_excluded(needed=5) == 1
    assert find_candidate_nodes({"exclude": "node[1-4]"}).max_excluded() == 1
    assert find_candidate_nodes({"nodelist": "node1"}).max_excluded() == 0
    assert find_candidate_nodes({"partition": "gpu"}).max_excluded() == 1


@pytest.mark.usefixtures("cluster")
def test_a_node_has_recovered_when_slurm_shows_it_running_and_rebooted_if_needed() -> None:
    since = 1795521600.0  # 25 November 2026
    names = [f"node{number}" for number in range(1, 8)]
    seen = [ExcludedNode(name=name, since=since) for name in names]
    assert find_recovered_nodes(seen) == ("node1", "node2")
    found_bad = [node.model_copy(update={"until_boot": True}) for node in seen]
    assert find_recovered_nodes(found_bad) == ("node1",)


def test_a_refusal_while_all_nodes_are_away_is_a_wait_and_no_mistake(
    cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(NodesUnavailable):
        SlurmBackend().submit(job(tmp_path, partition="gpu"))
    asked = SlurmBackend().objections([job(tmp_path, partition="gpu")])
    assert (asked.refused, len(asked.waits)) == ((), 1)
    with pytest.raises(JobRefused):
        SlurmBackend().submit(job(tmp_path, partition="low"))
    assert len(SlurmBackend().objections([job(tmp_path)]).refused) == 1
    cluster.add("sinfo", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(SchedulerUnavailable):
        SlurmBackend().submit(job(tmp_path))


@pytest.mark.usefixtures("cluster")
def test_a_refusal_names_the_nodes_that_were_left_out(tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match=r"options\.exclude") as caught:
        SlurmBackend().submit(job(tmp_path, exclude="node[1-5]"))
    assert "node[1-5]" in str(caught.value)


def test_no_room_is_nothing_that_is_wrong_with_a_job(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add("sbatch", "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1")
    assert SlurmBackend().objections([job(tmp_path)]) == Objections()


@pytest.mark.parametrize(("before", "is_left_out"), [("", True), ("node[1-3]", False)])
def test_waiting_elements_of_an_array_avoid_no_more_than_half_of_a_partition(
    before: str, is_left_out: bool, cluster: Cluster
) -> None:
    result = cluster.folder / "result"
    cluster.add("squeue", f"echo 'low|1|{before}'")
    cluster.add("scontrol", f'echo "$*" > {result}')
    exclude_node_for_pending("12_3", "node6")
    assert result.exists() == is_left_out
    if is_left_out:
        assert "ExcNodeList=node6" in result.read_text()


#: A partition of nodes without GPUs that are up, and of some with GPUs that are drained.
MIXED = """mixed*|node1|idle|32|262144|(null)|cpu
mixed*|node2|mix|32|262144|(null)|cpu
mixed*|node3|drain|32|262144|gpu:h100:8(S:0-1)|gpu
mixed*|node4|maint|32|262144|gpu:h100:8(S:0-1)|gpu
"""


@pytest.mark.parametrize(
    ("update", "waits"),
    [
        ({"gpus_per_node": 8}, True),
        ({"gpus_per_node": 8, "nodes": 2}, True),
        ({"nodes": 3}, True),
        ({"options": {"constraint": "gpu"}}, True),
        ({"options": {"nodelist": "node3"}}, True),
        ({"gpus_per_node": 8, "nodes": 3}, False),
        ({"gpus_per_node": 9}, False),
        ({"gpus_per_node": 1, "options": {"gpu_type": "a100"}}, False),
        ({"mem_gb": 500}, False),
        ({"cpus_per_rank": 33}, False),
        ({"gpus_per_node": 8, "options": {"exclude": "node[3-4]"}}, False),
        ({"options": {"constraint": "none-such"}}, False),
        # The cause is something else: fitting nodes are up.
        ({}, False),
    ],
)
def test_a_job_waits_where_nodes_that_fit_are_away_and_is_refused_where_none_fits(
    update: dict[str, Any], waits: bool, cluster: Cluster, tmp_path: Path
) -> None:
    (cluster.folder / "nodes").write_text(MIXED)
    asked = replace(job(tmp_path), resources=Resources(**update))
    found = SlurmBackend().objections([asked])
    assert (len(found.refused), len(found.waits)) == ((0, 1) if waits else (1, 0))


def test_a_partition_that_starts_no_jobs_now_lets_them_wait(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.add("sbatch", "true")
    cluster.add("sinfo", r"printf 'low*|down\ngpu|up\n'")
    assert len(SlurmBackend().objections([job(tmp_path)]).waits) == 1
    assert SlurmBackend().objections([job(tmp_path, partition="gpu")]) == Objections()
    assert SlurmBackend().objections([job(tmp_path, partition="low,gpu")]) == Objections()
