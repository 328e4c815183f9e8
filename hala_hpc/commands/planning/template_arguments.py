"""Parse the arguments of an sbatch template: a node of a recipe, or settings of one stage alone.

Settings alone, as `model=... corpus=... work=...`, become a recipe of one node in the work folder,
so that every other command can continue what a template started.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hala_hpc.commands.arguments import is_true
from hala_hpc.commands.command_line import LAUNCH_ARGUMENTS, CommandLine, parse_command_line
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.core.errors import UserError
from hala_hpc.core.files import claim_text
from hala_hpc.core.overrides import parse_overrides
from hala_hpc.core.paths import expand_path

#: Arguments of a template, each with its meaning; all others are settings of the stage.
TEMPLATE_ARGUMENTS = {
    "stage": "stage of the node; the template names it",
    "node": "the node of the recipe (default: the one of that stage)",
    "recipe": "name of a shipped one, or a TOML file; without it arguments are settings",
    "launcher": "launcher with the environments and variables of the job (default: slurm)",
    "work": "folder of the results",
    "submit": "true, for a gate: submit what is missing; else only report it",
}
#: Arguments of `launch` that cannot affect a job which is already running.
LAUNCH_ONLY_KEYS = ("dry_run", "format", "confirm", "render")


@dataclass(frozen=True)
class Template:
    """The parsed arguments of a template."""

    command_line: CommandLine
    steps: dict[str, Step]
    """Every node of the recipe, inputs first."""
    submit: bool
    """Whether a gate may submit."""

    @property
    def step(self) -> Step:
        """The one node that the arguments select. Raises: UserError if they select several."""
        if len(self.command_line.chosen) != 1:
            names = ", ".join(self.command_line.chosen)
            raise UserError(
                f"stage={self.command_line.overrides['stage']} selects several nodes: add node=, "
                f"one of {names}"
            )
        return self.steps[self.command_line.chosen[0]]


def read_template(arguments: Sequence[str]) -> Template:
    """Parse the arguments of a template. Raises: UserError with every mistake."""
    overrides = parse_overrides(list(arguments))
    submit = is_true(overrides, "submit")
    if wrong := [key for key in LAUNCH_ONLY_KEYS if key in overrides]:
        raise UserError(
            [f"{key}={overrides[key]} is an argument of launch, not of a template" for key in wrong]
        )
    given = (
        make_recipe_overrides(overrides)
        if "recipe" in overrides
        else make_settings_overrides(overrides)
    )
    command_line = parse_command_line([f"{key}={value}" for key, value in given.items()])
    return Template(
        command_line,
        make_plan(command_line.nodes, command_line.work, command_line.environment),
        submit,
    )


def make_recipe_overrides(overrides: Mapping[str, str]) -> dict[str, str]:
    """Overrides of a launch for a node of a recipe."""
    given = {key: value for key, value in overrides.items() if key not in ("node", "submit")}
    given["stage"] = overrides.get("node") or overrides.get("stage", "all")
    return {"launcher": "slurm", **given}


def make_settings_overrides(overrides: Mapping[str, str]) -> dict[str, str]:
    """Overrides of a launch for settings alone; writes the recipe that they belong to.

    Raises: UserError if stage or work folder are missing.
    """
    stage = overrides.get("stage", "")
    if missing := [key for key in ("stage", "work") if not overrides.get(key)]:
        raise UserError(
            [f"{key}= is missing: add it, or name a recipe and a node" for key in missing]
        )
    if "node" in overrides:
        raise UserError(f"node={overrides['node']} needs a recipe: add recipe=, or omit node=")
    recipe = expand_path("work", overrides["work"]).absolute() / f"{stage}.toml"
    claim_text(recipe, f"# Settings given to slurm/{stage}.sbatch.\n[{stage}]\n")
    launch_overrides = {
        key: overrides[key] for key in overrides if key in (*TEMPLATE_ARGUMENTS, *LAUNCH_ARGUMENTS)
    }
    launch_overrides.pop("submit", None)
    settings = {
        key if key.startswith(f"{stage}.") else f"{stage}.{key}": value
        for key, value in overrides.items()
        if key not in (*TEMPLATE_ARGUMENTS, *LAUNCH_ARGUMENTS)
    }
    return {"launcher": "slurm", **launch_overrides, "recipe": str(recipe), **settings}
