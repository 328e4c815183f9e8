"""Submit the rounds of a node so that a kill at any instant loses and doubles nothing.

The round's file, with a key that nobody else has, is written before sbatch; the ids stand in
`jobs.json` after it. Jobs whose ids were never written are known again by the key in their names.
"""

import time
from typing import Any

from hala_hpc.backends.slurm import SlurmBackend
from hala_hpc.backends.slurm_queue import Seen
from hala_hpc.budget import require_budget
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import NoRoom
from hala_hpc.core.files import read_json, write_json
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.failures.policy import adjusted_spec
from hala_hpc.node_jobs import gate_job, job_name, worker_job
from hala_hpc.round_begin import begin_round
from hala_hpc.round_end import blameless_rounds, idle_rounds

#: An sbatch that outlived its launch has got through, or never will, after this many seconds.
SETTLED_S = 5


def submit_node(
    artifact: Artifact, units: int, spec: dict[str, Any], after_ok: tuple[str, ...] = ()
) -> str:
    """Submit the missing units of a node and its gate; return the id of the gate.

    With fewer workers, each for more units, where the cluster takes no more jobs or no larger
    array. Raises NoRoom when it takes not even one worker and a gate, and UserError when the
    budget is spent.
    """
    require_budget(artifact.folder.parent, spec)
    workers = Resources.model_validate(spec["resources"]).workers
    while True:
        number = begin_round(artifact, units, workers, spec)
        count = len(artifact.round(number)["assignment"])
        try:
            return submit_round(artifact, number, after_ok)
        except NoRoom:
            # Nothing of it is left: this round never was.
            artifact.round_file(number).unlink()
            if count == 1:
                raise
            workers = count // 2


def submit_round(
    artifact: Artifact, number: int, after_ok: tuple[str, ...] = (), workers_id: str = ""
) -> str:
    """Submit workers and gate of a round, the gate alone where the workers are known; its id."""
    backend = SlurmBackend()
    asked = artifact.round(number)
    spec = asked["spec"]
    jobs: dict[str, Any] = {"round": number, "submitted": time.time()}
    if not workers_id:
        count = len(asked["assignment"])
        workers_id = backend.submit(worker_job(artifact, count, spec, after_ok, asked["key"]))
    write_json(artifact.jobs_file, jobs | {"workers": workers_id})
    try:
        gate_id = backend.submit(gate_job(artifact, number, spec, workers_id))
    except NoRoom:
        backend.cancel([workers_id])
        raise
    write_json(artifact.jobs_file, jobs | {"workers": workers_id, "gate": gate_id})
    return gate_id


def is_unsettled(artifact: Artifact) -> bool:
    """Whether ids of the newest round were never written: somebody submits, or was killed."""
    asked, jobs = newest(artifact)
    if not asked or asked["spec"]["launcher"]["backend"] == "local":
        return False
    return jobs.get("round") != asked["round"] or "gate" not in jobs


def settle(artifacts: list[Artifact]) -> None:
    """Wait until every sbatch that a killed launch left behind has got through, or never will."""
    ages = [
        time.time() - artifact.round_file(artifact.last_round()).stat().st_mtime
        for artifact in artifacts
        if is_unsettled(artifact)
    ]
    if ages and min(ages) < SETTLED_S:
        time.sleep(SETTLED_S - max(0.0, min(ages)))


def living_gate(artifact: Artifact, seen: list[Seen], apart_from: str = "") -> str:
    """Id of the gate that ends what is at work on a node; "" when nothing is.

    Jobs of a killed launch are adopted, and workers without a gate get one. `seen` is what
    the scheduler shows of all jobs of this user, `apart_from` the id of one that does not count.
    """
    asked, jobs = newest(artifact)
    living = {row.id for row in seen} - {apart_from}
    if not asked:
        return ""
    if jobs.get("gate") in living:
        return str(jobs["gate"])
    names = {row.name: row.id for row in seen if row.id in living}
    key = asked["key"]
    workers_id = names.get(job_name("", artifact, key), "")
    if gate_id := names.get(job_name("gate-", artifact, key)):
        ids = {"workers": workers_id or jobs.get("workers", ""), "gate": gate_id}
        write_json(artifact.jobs_file, {"round": asked["round"], "submitted": time.time(), **ids})
        return gate_id
    return submit_round(artifact, asked["round"], workers_id=workers_id) if workers_id else ""


def newest(artifact: Artifact) -> tuple[dict[str, Any], dict[str, Any]]:
    """The newest round and what `jobs.json` says; each empty where there is none."""
    return artifact.round(artifact.last_round()), read_json(artifact.jobs_file) or {}


def next_spec(artifact: Artifact, spec: dict[str, Any]) -> dict[str, Any]:
    """The spec of the round after the last one: changed as its failures ask for, and counted."""
    counts = {
        "idle_rounds": idle_rounds(artifact),
        "blameless_rounds": blameless_rounds(artifact),
    }
    return adjusted_spec(artifact, spec) | counts


def submit_next_round(artifact: Artifact, spec: dict[str, Any], own_gate: str) -> None:
    """Submit the next round from inside a gate; who waited for this gate waits for the next."""
    config = artifact.config()
    assert config is not None, artifact.folder
    hand_over(artifact, own_gate, submit_node(artifact, config["units"], spec))


def hand_over(artifact: Artifact, own_gate: str, gate_id: str) -> None:
    """Let those who wait for one gate wait for another."""
    moved = SlurmBackend().move_waiting(own_gate, gate_id)
    print(f"round {artifact.last_round()} goes on with gate {gate_id}; moved: {moved}", flush=True)
