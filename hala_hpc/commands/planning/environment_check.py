"""Check that the environments of a launch can run its jobs: built for the device, and complete.

Reads files only, in milliseconds, so that every launch on a login node can afford it. The doctor
also starts the interpreters.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.builds import DEVICE_VARIABLE, TorchBuild, find_torch_build, lacks_job_libraries
from hala_hpc.core.launcher import Launcher

#: Nodes that a message names; the rest is only counted.
MAX_NAMED_NODES = 3
CPU_BUILD_FIX = (
    f"run `{DEVICE_VARIABLE}=cuda make env`, or if the jobs should use CPUs, write in the "
    f'launcher: [environment] {DEVICE_VARIABLE} = "cpu"'
)


@dataclass(frozen=True)
class EnvironmentNeed:
    """What a node requires of an environment."""

    node: str
    env: str
    gpus: int
    """GPUs of one worker on each node."""


@dataclass(frozen=True)
class UnfitEnvironment:
    """An environment that cannot run its jobs."""

    description: str
    reason: str
    fix: str

    @property
    def message(self) -> str:
        """Description, reason and fix on one line."""
        return f"{self.description}: {self.reason}; {self.fix}"


def collect_environment_needs(steps: Iterable[Step]) -> list[EnvironmentNeed]:
    """The requirements of some nodes."""
    return [
        EnvironmentNeed(step.name, step.node.stage.env, step.node.settings.resources.gpus_per_node)
        for step in steps
    ]


def find_unfit_environments(
    launcher: Launcher, needs: Sequence[EnvironmentNeed]
) -> list[UnfitEnvironment]:
    """Find environments that cannot run the jobs of some nodes; missing environments are omitted.

    On this machine GPUs are not checked: jobs use whatever device is there.
    """
    if launcher.interpreter.is_container:
        # What an image holds is seen on a compute node: doctor job=true.
        return []
    found = []
    for env in sorted({need.env for need in needs} | {"main"}):
        python = launcher.python_of(env)
        on_gpus = [need.node for need in needs if need.env == env and need.gpus]
        build = find_torch_build(python)
        if lacks_job_libraries(python):
            found.append(light_environment(env, python))
        elif build and build.device == "cpu" and on_gpus and means_gpus(launcher):
            fix = format_named_python_fix(env) if env in launcher.python else CPU_BUILD_FIX
            found.append(built_for_cpus(env, python, build, on_gpus, fix))
    return found


def means_gpus(launcher: Launcher) -> bool:
    """Whether jobs that request GPUs are to compute on them."""
    return launcher.backend == "slurm" and launcher.device != "cpu"


def format_named_python_fix(env: str) -> str:
    """How to fix an environment that the launcher itself names."""
    return (
        f"in the launcher's [python] {env} name an environment made by `{DEVICE_VARIABLE}=cuda "
        f"make env`, or if the jobs should use CPUs, write there: [environment] {DEVICE_VARIABLE} "
        '= "cpu"'
    )


def built_for_cpus(
    env: str, python: str, build: TorchBuild, nodes: Sequence[str], fix: str = CPU_BUILD_FIX
) -> UnfitEnvironment:
    """An environment without code for the GPUs that its jobs request."""
    more = f" and {len(nodes) - MAX_NAMED_NODES} more" if len(nodes) > MAX_NAMED_NODES else ""
    verb = "requests" if len(nodes) == 1 else "request"
    return UnfitEnvironment(
        f"environment {env} ({python}): its torch is built for CPUs ({build.version}), and "
        f"{', '.join(nodes[:MAX_NAMED_NODES])}{more} {verb} GPUs",
        "they would occupy GPUs and compute on CPUs",
        fix,
    )


def light_environment(env: str, python: str) -> UnfitEnvironment:
    """An environment that can only plan and submit."""
    return UnfitEnvironment(
        f"environment {env} ({python}): can only plan and submit: it has no torch",
        "its jobs would fail when they import it",
        f'name a complete one in the launcher: [python] {env} = "<clone>/.venv'
        f'{"" if env == "main" else f"-{env}"}/bin/python", which `make env` makes in a clone',
    )
