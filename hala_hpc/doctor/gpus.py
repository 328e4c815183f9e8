"""Which GPUs a cluster has, and whether FP8 works on those that jobs ask for."""

from collections.abc import Sequence

from hala_hpc.backends.slurm.cluster import Site
from hala_hpc.doctor.findings import Finding
from hala_hpc.doctor.scope import JobShape
from hala_hpc.engines.models.gpus import has_fp8


def gpu_findings(
    site: Site, kinds: Sequence[JobShape], fp8_nodes: Sequence[str] | None
) -> list[Finding]:
    """A line for each type of GPU that jobs may get.

    `fp8_nodes`: nodes of the recipe that calculate in FP8; None where no recipe is given.
    """
    found: dict[str, list[str]] = {}
    for kind in kinds:
        if kind.asked.gpus_per_node:
            for gpu_type in types_for(site, kind):
                found.setdefault(gpu_type, []).extend(kind.names)
    return [gpu_finding(name, users, fp8_nodes) for name, users in sorted(found.items())]


def types_for(site: Site, kind: JobShape) -> set[str]:
    """Types of the GPUs that a kind of job may get."""
    asked = kind.asked.options.get("gpu_type", "")
    there = {
        gpu_type
        for name in kind.partitions(site)
        if name in site.partitions
        for nodes in site.partitions[name].kinds
        for gpu_type in nodes.gpus
    }
    return there & {asked} if asked else there


def gpu_finding(gpu_type: str, users: list[str], fp8_nodes: Sequence[str] | None) -> Finding:
    """Whether FP8 works on one type, and who would miss it."""
    works, named = has_fp8(gpu_type), f"GPUs of type {gpu_type!r}" if gpu_type else "untyped GPUs"
    if works:
        return Finding(
            "gpus", "good", f"{named} calculate in FP8", "quantized models run at full speed"
        )
    need = sorted(set(users) & set(fp8_nodes or ()))
    if works is False:
        affected = f": {', '.join(need)}" if need else ""
        return Finding(
            "gpus",
            "bad" if need else "warn",
            f"{named} do not calculate in FP8",
            f"steps with FP8 models or an FP8 cache refuse them{affected}",
            "ask for Ada, Hopper or Blackwell GPUs with options.gpu_type, or take models that "
            'are not quantized (scheme = "none") and engine.kv_cache_dtype=auto',
        )
    return Finding(
        "gpus",
        "warn" if need or fp8_nodes is None else "good",
        f"whether {named} calculate in FP8 cannot be told from the name",
        "a job that cannot use its GPU says so when it starts, after its wait in the queue",
        "add job=true to look at the GPU itself",
    )
