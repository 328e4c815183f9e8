"""A launcher: where and how jobs run, read from TOML."""

from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    field_validator,
    model_validator,
)

from hala_hpc.core.builds import DEVICE_VARIABLE, DEVICES
from hala_hpc.core.interpreter import Interpreter
from hala_hpc.core.paths import environment_python
from hala_hpc.core.recipe_file import merge_tables
from hala_hpc.core.resources import GATE_RESOURCES, Resources

#: Flags of srun that the pipeline sets.
MANAGED_SRUN_FLAGS = (
    *("--cpus-per-task", "--export", "--kill-on-bad-exit", "--wait"),
    *("--container-image", "--container-mounts"),
)


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
    """Interpreter of each environment, if it is not the one beside the running one; `gate` is that
    of gates, if it is not main."""
    interpreter: Interpreter = Interpreter()
    """How the interpreter of a job is reached: venv, conda, modules, or a container image."""
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
    srun: tuple[str, ...] = ()
    """More flags of srun for every job, each as `--flag=value`."""
    share: Literal["owner", "group", "group-and-readers"] = "owner"
    """Who may read and go on with a run: its owner; the members of the group of the work folder; or
    these, with all other users as readers."""
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
        if self.interpreter.kind == "conda" and env not in self.python:
            return self.interpreter.python_of(env)
        wanted = self.device or ("cuda" if self.backend == "slurm" else "")
        return self.python.get(env) or str(environment_python(env, wanted))

    def job_python_of(self, env: str) -> str:
        """Interpreter of an environment as its jobs see it, in the image if they run in one."""
        return self.interpreter.python_of(env) or self.python_of(env)

    @property
    def gate_python(self) -> str:
        """Interpreter of the gates, outside of any image: they talk to SLURM."""
        return self.python.get("gate") or self.python_of("main")

    @property
    def setup_lines(self) -> tuple[str, ...]:
        """Shell lines before every job: those of the interpreter, then those of the site."""
        return (*self.interpreter.setup_lines, *self.setup)

    @field_validator("srun")
    @classmethod
    def require_flags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what is no flag, and flags that every job gets already."""
        for flag in value:
            name = flag.partition("=")[0]
            if not flag.startswith("--") or not flag.isprintable() or " " in flag:
                raise ValueError(f"{flag!r} is no flag of srun: write it as --flag=value")
            if name in MANAGED_SRUN_FLAGS:
                raise ValueError(f"{name} is set for every job")
        return value

    @model_validator(mode="after")
    def require_scheduler_for_pyxis(self) -> "Launcher":
        """Refuse an image that only srun can enter, without SLURM."""
        if self.interpreter.kind == "pyxis" and self.backend != "slurm":
            raise ValueError('interpreter.kind = "pyxis" needs backend = "slurm": srun enters it')
        return self

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
        """A line for each environment whose interpreter does not exist, or for a missing image."""
        if self.interpreter.is_container:
            return self.interpreter.problems()
        return [
            f"the environment {env!r} is not set up: {self.python_of(env)} does not exist; "
            f"run `make env`, or name it in the launcher: [python] {env} = ..."
            for env in sorted(envs)
            if not Path(self.python_of(env)).exists()
        ]
