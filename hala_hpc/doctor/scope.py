"""What the doctor checks: a launcher, a work folder, maybe a recipe, and their jobs."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.backends.slurm.cluster import Site
from hala_hpc.backends.slurm.parsing import parse_megabytes
from hala_hpc.commands.planning.environment_check import EnvironmentNeed, collect_environment_needs
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.hub_dependency import HubSite
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.recipe_file import merge_tables
from hala_hpc.core.resources import Resources
from hala_hpc.core.stage_registry import find_stage, stage_names

#: Name of the gate jobs in findings.
GATES = "gates"


@dataclass(frozen=True)
class DoctorScope:
    """The subjects of the doctor's checks."""

    launcher: Launcher
    work: Path
    steps: dict[str, Step] | None
    """Nodes of the recipe; None without a recipe."""
    job: bool = False
    """Whether compute nodes are checked, too."""
    fetch: str = ""
    """Command that downloads the recipe's models and data from the hub."""

    @property
    def site(self) -> HubSite:
        """Where jobs find downloaded models and data."""
        return HubSite(self.environment, self.launcher.python_of("main"), self.work)

    @property
    def missing(self) -> list[Step]:
        """Unfinished nodes, which would run."""
        return [step for step in (self.steps or {}).values() if step.state != "done"]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the jobs."""
        return {**os.environ, **self.launcher.environment}

    def jobs(self) -> Iterator[tuple[str, Resources, int]]:
        """Name, resources and workers of every job: of the recipe, else of all stages."""
        for step in self.missing:
            yield step.name, step.node.settings.resources, step.workers
        if self.steps is None:
            for name in stage_names():
                default = find_stage(name).Settings.model_fields["resources"].default
                asked = Resources.model_validate(
                    merge_tables(default.model_dump(), self.launcher.resources_of("", name))
                )
                yield name, asked, asked.workers
        yield GATES, self.launcher.gate_resources, 1

    def needs(self) -> list[EnvironmentNeed]:
        """Requirements of the jobs of the recipe, else of all stages, for their environments."""
        if self.steps is not None:
            return collect_environment_needs(self.missing)
        stages = [(name, asked) for name, asked, _ in self.jobs() if name != GATES]
        return [
            EnvironmentNeed(name, find_stage(name).env, asked.gpus_per_node)
            for name, asked in stages
        ]

    def environments(self) -> set[str]:
        """Environments that the jobs need."""
        return {need.env for need in self.needs()} | {"main"}

    def fp8_nodes(self) -> list[str] | None:
        """Nodes that compute in FP8: with a model that a node quantizes, or in their KV cache."""
        if self.steps is None:
            return None
        settings = {step.name: step.node.settings for step in self.missing}
        made = {f"@{n}" for n, one in settings.items() if getattr(one, "scheme", "none") != "none"}
        return [
            name
            for name, one in settings.items()
            if made & {value for _, value, _ in one.references()}
            or getattr(getattr(one, "engine", None), "kv_cache_dtype", "").startswith("fp8")
        ]


@dataclass(frozen=True)
class JobShape:
    """Jobs with equal resources: one line of the report."""

    names: tuple[str, ...]
    """Stages, or nodes of a recipe, that the jobs belong to."""
    asked: Resources
    workers: int
    """Maximum number of workers of one of them."""

    def setting_name(self, setting: str) -> str:
        """A setting of the resources as written in the launcher; gates have their own table."""
        return f"[gate] {setting}" if self.names == (GATES,) else setting

    def partitions(self, site: Site) -> list[str]:
        """Names of the partitions that it may use; empty if there is none."""
        named = self.asked.options.get("partition", "") or site.default_partition()
        return [name for name in named.split(",") if name]

    @property
    def cpus_per_node(self) -> int:
        """Cores on each machine."""
        return self.asked.ranks_per_node * self.asked.cpus_per_rank

    @property
    def memory_mb(self) -> int:
        """Memory in MB on each machine; 0 if none is set. `mem` in the options takes precedence."""
        named = self.asked.options.get("mem")
        return self.asked.mem_gb * 1024 if named is None else parse_megabytes(named) or 0

    @property
    def totals(self) -> dict[str, int]:
        """What one job uses of each resource that limits count; memory in MB."""
        asked = self.asked
        gpus, kind = asked.gpus_per_node * asked.nodes, asked.options.get("gpu_type", "")
        typed = {f"gres/gpu:{kind}": gpus} if kind else {}
        memory_mb = self.memory_mb * asked.nodes
        cpus = self.cpus_per_node * asked.nodes
        return {"cpu": cpus, "mem": memory_mb, "node": asked.nodes, "gres/gpu": gpus, **typed}


def group_jobs(jobs: Iterable[tuple[str, Resources, int]]) -> list[JobShape]:
    """Group jobs (name, resources, workers) with equal resources."""
    found: dict[str, JobShape] = {}
    for name, asked, workers in jobs:
        # Gates have their own table in the launcher.
        table = GATES if name == GATES else ""
        key = table + asked.model_copy(update={"workers": 1}).model_dump_json()
        old = found.get(key)
        names = (*old.names, name) if old else (name,)
        found[key] = JobShape(names, asked, max(workers, old.workers if old else 1))
    return list(found.values())


def shorten_names(names: Sequence[str]) -> str:
    """Format names as `translate`, or `a, b and 5 more`."""
    first = names if len(names) <= 3 else names[:2]
    return ", ".join(first) + (f" and {len(names) - 2} more" if len(names) > 3 else "")
