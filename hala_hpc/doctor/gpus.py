"""The GPU types of a cluster, and whether those that jobs may get support FP8."""

from collections.abc import Sequence

from hala_hpc.backends.slurm.cluster import Site
from hala_hpc.doctor.findings import Finding
from hala_hpc.doctor.scope import JobShape
from hala_hpc.engines.models.gpus import has_fp8


def gpu_findings(
    site: Site, kinds: Sequence[JobShape], fp8_nodes: Sequence[str] | None
) -> list[Finding]:
    """One finding for each GPU type that jobs may get.

    `fp8_nodes`: nodes of the recipe that compute in FP8; None without a recipe.
    """
    found: dict[str, list[str]] = {}
    for kind in kinds:
        if kind.asked.gpus_per_node:
            for gpu_type in types_for(site, kind):
                found.setdefault(gpu_type, []).extend(kind.names)
    return [gpu_finding(name, users, fp8_nodes) for name, users in sorted(found.items())]


def types_for(site: Site, kind: JobShape) -> set[str]:
    """GPU types that a kind of job may get."""
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
    """Whether one GPU type supports FP8, and which nodes need it."""
    works, named = has_fp8(gpu_type), f"GPUs of type {gpu_type!r}" if gpu_type else "untyped GPUs"
    if works:
        return Finding("gpus", "good", f"{named} support FP8", "quantized models run at full speed")
    need = sorted(set(users) & set(fp8_nodes or ()))
    if works is False:
        affected = f": {', '.join(need)}" if need else ""
        return Finding(
            "gpus",
            "error" if need else "warn",
            f"{named} do not support FP8",
            f"nodes with FP8 models or an FP8 cache refuse them{affected}",
            "request Ada, Hopper or Blackwell GPUs with options.gpu_type, or use models that "
            'are not quantized (scheme = "none") and engine.kv_cache_dtype=auto',
        )
    return Finding(
        "gpus",
        "warn" if need or fp8_nodes is None else "good",
        f"whether {named} support FP8 is unknown from the name",
        "a job that cannot use its GPU fails at its start, after its wait in the queue",
        "add job=true to check the GPU itself",
    )
