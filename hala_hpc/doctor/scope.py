"""What the doctor looks at: a launcher, a work folder, perhaps a recipe, and the jobs of these."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.backends.slurm.cluster import Site
from hala_hpc.backends.slurm.parsing import parse_megabytes
from hala_hpc.commands.planning.environment_check import EnvironmentNeed, collect_environment_needs
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.hub_dependency import HubSite
from hala_hpc.core.launcher import Launcher, merge_tables
from hala_hpc.core.resources import Resources
from hala_hpc.core.stage_registry import find_stage, stage_names

#: What the jobs are called that follow the workers of every node.
GATES = "gates"


@dataclass(frozen=True)
class DoctorScope:
    """What the doctor looks at."""

    launcher: Launcher
    work: Path
    steps: dict[str, Step] | None
    """Nodes of the recipe; None where none is named."""
    job: bool = False
    fetch: str = ""
    """Line that fetches what the nodes of the recipe read from the hub."""

    @property
    def site(self) -> HubSite:
        """Where jobs find what was fetched."""
        return HubSite(self.environment, self.launcher.python_of("main"), self.work)

    @property
    def missing(self) -> list[Step]:
        """Nodes that would run."""
        return [step for step in (self.steps or {}).values() if step.state != "done"]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that jobs see."""
        return {**os.environ, **self.launcher.environment}

    def jobs(self) -> Iterator[tuple[str, Resources, int]]:
        """Name, resources and workers of every job: of the recipe, else of every stage."""
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
        """What the jobs of the recipe, else of every stage, ask of their environments."""
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
        """Nodes that calculate in FP8: by a model that a node quantizes, or in their cache."""
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
    """Jobs that ask for the same: one line of the report."""

    names: tuple[str, ...]
    """Stages or nodes of a recipe that ask for them."""
    asked: Resources
    workers: int
    """The most that one of them wants at once."""

    def setting_name(self, setting: str) -> str:
        """A setting of the resources as it is written: that of the gates stands in their table."""
        return f"[gate] {setting}" if self.names == (GATES,) else setting

    def partitions(self, site: Site) -> list[str]:
        """Names of the partitions that it may go to; empty where there is none to go to."""
        named = self.asked.options.get("partition", "") or site.default_partition()
        return [name for name in named.split(",") if name]

    @property
    def cpus_per_node(self) -> int:
        """Cores on each machine."""
        return self.asked.ranks_per_node * self.asked.cpus_per_rank

    @property
    def memory_mb(self) -> int:
        """Memory on each machine; 0 where none is named: `mem` among the options is stronger."""
        named = self.asked.options.get("mem")
        return self.asked.mem_gb * 1024 if named is None else parse_megabytes(named) or 0

    @property
    def totals(self) -> dict[str, int]:
        """What one job takes of each thing that limits count; memory in MB."""
        asked = self.asked
        gpus, kind = asked.gpus_per_node * asked.nodes, asked.options.get("gpu_type", "")
        typed = {f"gres/gpu:{kind}": gpus} if kind else {}
        memory_mb = self.memory_mb * asked.nodes
        cpus = self.cpus_per_node * asked.nodes
        return {"cpu": cpus, "mem": memory_mb, "node": asked.nodes, "gres/gpu": gpus, **typed}


def group_jobs(jobs: Iterable[tuple[str, Resources, int]]) -> list[JobShape]:
    """Jobs (name, what each asks for, workers) put together where they ask for the same."""
    found: dict[str, JobShape] = {}
    for name, asked, workers in jobs:
        # Gates have a table of their own in the launcher.
        table = GATES if name == GATES else ""
        key = table + asked.model_copy(update={"workers": 1}).model_dump_json()
        old = found.get(key)
        names = (*old.names, name) if old else (name,)
        found[key] = JobShape(names, asked, max(workers, old.workers if old else 1))
    return list(found.values())


def shorten_names(names: Sequence[str]) -> str:
    """`translate`, or `a, b and 5 more`."""
    first = names if len(names) <= 3 else names[:2]
    return ", ".join(first) + (f" and {len(names) - 2} more" if len(names) > 3 else "")
