"""Whether the environments of a line can run its jobs: built for what they ask for, and whole.

Told from files alone, in milliseconds, so that a launch on a login node can ask it each time; the
doctor starts the interpreters as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.builds import DEVICE_VARIABLE, TorchBuild, find_torch_build, lacks_job_libraries
from hala_hpc.core.launcher import Launcher

#: Nodes that a line names before the rest is only counted.
MAX_NAMED_NODES = 3
CPU_BUILD_FIX = (
    f"run `{DEVICE_VARIABLE}=cuda make env`, or where CPUs are meant say so in the launcher: "
    f'[environment] {DEVICE_VARIABLE} = "cpu"'
)


@dataclass(frozen=True)
class EnvironmentNeed:
    """What a node asks of an environment."""

    node: str
    env: str
    gpus: int
    """Of one worker on each machine."""


@dataclass(frozen=True)
class UnfitEnvironment:
    """An environment that cannot run its jobs."""

    description: str
    reason: str
    fix: str

    @property
    def message(self) -> str:
        """All of it in one line."""
        return f"{self.description}: {self.reason}; {self.fix}"


def collect_environment_needs(steps: Iterable[Step]) -> list[EnvironmentNeed]:
    """What some nodes ask for."""
    return [
        EnvironmentNeed(step.name, step.node.stage.env, step.node.settings.resources.gpus_per_node)
        for step in steps
    ]


def find_unfit_environments(
    launcher: Launcher, needs: Sequence[EnvironmentNeed]
) -> list[UnfitEnvironment]:
    """Environments that cannot run the jobs of some nodes, those that are not there left out.

    On this machine nothing is asked of GPUs: jobs take what is here.
    """
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
    """Whether jobs that ask for GPUs are to calculate on them."""
    return launcher.backend == "slurm" and launcher.device != "cpu"


def format_named_python_fix(env: str) -> str:
    """What to do about an environment that the launcher names itself."""
    return (
        f"name one that `{DEVICE_VARIABLE}=cuda make env` made in the launcher's [python] {env}, or where "
        f'CPUs are meant say so there: [environment] {DEVICE_VARIABLE} = "cpu"'
    )


def built_for_cpus(
    env: str, python: str, build: TorchBuild, nodes: Sequence[str], fix: str = CPU_BUILD_FIX
) -> UnfitEnvironment:
    """An environment without code for the GPUs that its jobs ask for."""
    more = f" and {len(nodes) - MAX_NAMED_NODES} more" if len(nodes) > MAX_NAMED_NODES else ""
    ask = "asks" if len(nodes) == 1 else "ask"
    return UnfitEnvironment(
        f"environment {env} ({python}): its torch is built for CPUs ({build.version}), and "
        f"{', '.join(nodes[:MAX_NAMED_NODES])}{more} {ask} for GPUs",
        "they would hold GPUs and calculate on CPUs",
        fix,
    )


def light_environment(env: str, python: str) -> UnfitEnvironment:
    """An environment that plans and submits, and no more."""
    return UnfitEnvironment(
        f"environment {env} ({python}): holds what plans and submits, and no torch",
        "its jobs would end when they import it",
        f'name a whole one in the launcher: [python] {env} = "<clone>/.venv'
        f'{"" if env == "main" else f"-{env}"}/bin/python", which `make env` makes in a clone',
    )
