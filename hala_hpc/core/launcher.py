"""A launcher: where and how jobs run, read from TOML."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, field_validator

from hala_hpc.core.builds import DEVICE_VARIABLE, DEVICES
from hala_hpc.core.paths import environment_python
from hala_hpc.core.recipe_file import merge_tables
from hala_hpc.core.resources import GATE_RESOURCES, Resources


class ResourceOverrides(BaseModel):
    """Resources that a launcher changes for one stage or node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resources: dict[str, Any] = Field(default_factory=dict)


class Launcher(BaseModel):
    """The keys of a launcher file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    backend: Literal["local", "slurm"]
    """What runs the jobs."""
    python: dict[str, str] = Field(default_factory=dict)
    """Interpreter of each environment, if it is not the one beside the running one."""
    resources: dict[str, Any] = Field(default_factory=dict)
    """For every node. Those of a stage override them, and those of a node override both."""
    gate: dict[str, Any] = Field(default_factory=dict)
    """Resources of the gates."""
    stage: dict[str, ResourceOverrides] = Field(default_factory=dict)
    node: dict[str, ResourceOverrides] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables set for every job, without expansion by a shell. Do not put secrets here."""
    setup: tuple[str, ...] = ()
    """Shell lines run before every job, e.g. `module load gcc`."""
    snapshot: bool = False
    """Whether the launch copies the code to `<work>/code/<commit>` for its jobs to import. Then a
    `git pull` changes no job that is queued."""
    max_gpu_hours: NonNegativeFloat = 200.0
    """A launch that is estimated to take more GPU hours requires `confirm=true`."""
    budget_gpu_hours: NonNegativeFloat | None = None
    """GPU hours that all results of a work folder may take; then nothing more is submitted."""

    def resources_of(self, node: str, stage: str) -> dict[str, Any]:
        """The launcher's own resources of a node, merged with the strongest last."""
        merged: dict[str, Any] = {}
        for layer in (
            self.resources,
            self.stage[stage].resources if stage in self.stage else {},
            self.node[node].resources if node in self.node else {},
        ):
            merged = merge_tables(merged, layer)
        return merged

    @property
    def gate_resources(self) -> Resources:
        """Resources of the gates: small, with the options of every node."""
        base = GATE_RESOURCES.model_dump()
        options = self.resources.get("options", {})
        return Resources.model_validate(
            merge_tables(merge_tables(base, {"options": options}), self.gate)
        )

    @field_validator("environment")
    @classmethod
    def require_device(cls, value: dict[str, str]) -> dict[str, str]:
        """Refuse a device that no environment is built for."""
        if value.get(DEVICE_VARIABLE, "cpu") not in DEVICES:
            raise ValueError(f"{DEVICE_VARIABLE} is neither {' nor '.join(DEVICES)}")
        return value

    @property
    def device(self) -> str:
        """The device that the launcher selects for its jobs: cpu, cuda, or "" if none."""
        return self.environment.get(DEVICE_VARIABLE, "")

    def python_of(self, env: str) -> str:
        """Interpreter of an environment: the launcher's, or one beside the running one.

        On a cluster one that is built for GPUs, if there is one, unless the launcher selects cpu.
        """
        wanted = self.device or ("cuda" if self.backend == "slurm" else "")
        return self.python.get(env) or str(environment_python(env, wanted))

    def find_unexpanded(self) -> list[str]:
        """A line for each variable of jobs with a `$` that no shell will expand.

        The value is not shown: it may be a secret.
        """
        return [
            f"environment.{name} holds a `$`, and no shell expands [environment]: remove it and "
            f'write it into setup: setup = ["export {name}=..."]'
            for name, value in self.environment.items()
            if "$" in value
        ]

    def python_problems(self, envs: set[str]) -> list[str]:
        """A line for each environment whose interpreter does not exist."""
        return [
            f"the environment {env!r} is not set up: {self.python_of(env)} does not exist; "
            f"run `make env`, or name it in the launcher: [python] {env} = ..."
            for env in sorted(envs)
            if not Path(self.python_of(env)).exists()
        ]
