"""Whether the environments of a line can run its jobs: built for what they ask for, and whole.

Told from files alone, in milliseconds, so that a launch on a login node can ask it each time; the
doctor starts the interpreters as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.builds import VARIABLE, Build, build_of, is_light
from hala_hpc.core.launcher import Launcher

#: Nodes that a line names before the rest is only counted.
NAMED = 3
CPU_BUILD_CURE = (
    f"run `{VARIABLE}=cuda make env`, or where CPUs are meant say so in the launcher: "
    f'[environment] {VARIABLE} = "cpu"'
)


@dataclass(frozen=True)
class Need:
    """What a node asks of an environment."""

    node: str
    env: str
    gpus: int
    """Of one worker on each machine."""


@dataclass(frozen=True)
class Unfit:
    """An environment that cannot run its jobs."""

    what: str
    why: str
    cure: str

    @property
    def told(self) -> str:
        """All of it in one line."""
        return f"{self.what}: {self.why}; {self.cure}"


def needs_of(steps: Iterable[Step]) -> list[Need]:
    """What some nodes ask for."""
    return [
        Need(step.name, step.node.stage.env, step.node.settings.resources.gpus_per_node)
        for step in steps
    ]


def unfit_environments(launcher: Launcher, needs: Sequence[Need]) -> list[Unfit]:
    """Environments that cannot run the jobs of some nodes, those that are not there left out.

    On this machine nothing is asked of GPUs: jobs take what is here.
    """
    found = []
    for env in sorted({need.env for need in needs} | {"main"}):
        python = launcher.python_of(env)
        on_gpus = [need.node for need in needs if need.env == env and need.gpus]
        build = build_of(python)
        if is_light(python):
            found.append(light(env, python))
        elif build and build.device == "cpu" and on_gpus and means_gpus(launcher):
            cure = named_cure(env) if env in launcher.python else CPU_BUILD_CURE
            found.append(built_for_cpus(env, python, build, on_gpus, cure))
    return found


def means_gpus(launcher: Launcher) -> bool:
    """Whether jobs that ask for GPUs are to calculate on them."""
    return launcher.backend == "slurm" and launcher.device != "cpu"


def named_cure(env: str) -> str:
    """What to do about an environment that the launcher names itself."""
    return (
        f"name one that `{VARIABLE}=cuda make env` made in the launcher's [python] {env}, or where "
        f'CPUs are meant say so there: [environment] {VARIABLE} = "cpu"'
    )


def built_for_cpus(
    env: str, python: str, build: Build, nodes: Sequence[str], cure: str = CPU_BUILD_CURE
) -> Unfit:
    """An environment without code for the GPUs that its jobs ask for."""
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    ask = "asks" if len(nodes) == 1 else "ask"
    return Unfit(
        f"environment {env} ({python}): its torch is built for CPUs ({build.version}), and "
        f"{', '.join(nodes[:NAMED])}{more} {ask} for GPUs",
        "they would hold GPUs and calculate on CPUs",
        cure,
    )


def light(env: str, python: str) -> Unfit:
    """An environment that plans and submits, and no more."""
    return Unfit(
        f"environment {env} ({python}): holds what plans and submits, and no torch",
        "its jobs would end when they import it",
        f'name a whole one in the launcher: [python] {env} = "<clone>/.venv'
        f'{"" if env == "main" else f"-{env}"}/bin/python", which `make env` makes in a clone',
    )
