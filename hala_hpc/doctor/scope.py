"""What the doctor looks at: a launcher, a work folder, and perhaps a recipe."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.launcher import Launcher, merge
from hala_hpc.core.resources import Resources
from hala_hpc.core.stage_registry import find_stage, stage_names


@dataclass(frozen=True)
class Visit:
    """What the doctor looks at."""

    launcher: Launcher
    work: Path
    steps: dict[str, Step] | None
    """Nodes of the recipe; None where none is named."""
    job: bool = False

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
                    merge(default.model_dump(), self.launcher.resources_of("", name))
                )
                yield name, asked, asked.workers
        yield "gates", self.launcher.gate_resources, 1

    def environments(self) -> set[str]:
        """Environments that the jobs need."""
        if self.steps is None:
            return {find_stage(name).env for name in stage_names()} | {"main"}
        return {step.node.stage.env for step in self.missing} | {"main"}

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
