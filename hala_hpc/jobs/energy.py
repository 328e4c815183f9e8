"""Energy of the nodes of a run, where SLURM's accounting measures it."""

from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.gpu_hours import UsageQuery, worker_jobs

JOULES_PER_KWH = 3_600_000


def measure_energy_kwh(work: Path, query_usage: UsageQuery) -> dict[str, float]:
    """Energy of all workers of a node in kWh, by the folder of the node; unknown ones are left out.

    Accounting is queried once, for all jobs. Jobs without a measurement make a node unknown: a sum
    of the others would be too small.
    """
    begun = (Artifact(path.parent) for path in sorted(work.glob("*/config.json")))
    jobs = {artifact.folder.name: worker_jobs(artifact) for artifact in begun}
    accounts = query_usage({job for ours in jobs.values() for job in ours}) or {}
    found: dict[str, float] = {}
    for name, ours in jobs.items():
        measured = [accounts[job].energy_j if job in accounts else None for job in ours]
        known = [energy for energy in measured if energy is not None]
        if len(known) == len(measured) and sum(known) > 0:
            found[name] = sum(known) / JOULES_PER_KWH
    return found
