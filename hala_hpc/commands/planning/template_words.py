"""The words of an sbatch template: a node of a recipe, or the settings of one stage alone.

Settings alone, as `model=... corpus=... work=...`, become a recipe of one node in the work folder,
so that every other command goes on with what a template began.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hala_hpc.commands.arguments import is_true
from hala_hpc.commands.command_line import WORDS, Line, read_line
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.core.errors import UserError
from hala_hpc.core.files import claim_text
from hala_hpc.core.overrides import split_words
from hala_hpc.core.paths import named_path

#: Words of a template, each with its meaning; all others are settings of the stage.
TEMPLATE_WORDS = {
    "stage": "stage of the node; the template names it",
    "node": "the node of the recipe (default: the one of that stage)",
    "recipe": "name of a shipped one, or a TOML file; without it the words are settings",
    "launcher": "whose environments and variables the job gets (default: slurm)",
    "work": "folder of the results",
    "submit": "true, of a gate: submit what is missing; else it only reports",
}
#: Of a launch, and nothing that a job which runs already could heed.
OF_A_LAUNCH = ("dry_run", "format", "confirm", "render")


@dataclass(frozen=True)
class Template:
    """What the words of a template mean."""

    line: Line
    steps: dict[str, Step]
    """Every node of the recipe, inputs first."""
    submit: bool
    """Whether a gate may submit."""

    @property
    def step(self) -> Step:
        """The one node that the words mean. Raises UserError where they mean several."""
        if len(self.line.chosen) != 1:
            names = ", ".join(self.line.chosen)
            raise UserError(
                f"stage={self.line.words['stage']} means several nodes: add node=, one of {names}"
            )
        return self.steps[self.line.chosen[0]]


def read_template(arguments: Sequence[str]) -> Template:
    """Understand the words of a template. Raises UserError with every mistake."""
    words = split_words(list(arguments))
    submit = is_true(words, "submit")
    if wrong := [word for word in OF_A_LAUNCH if word in words]:
        raise UserError(
            [f"{word}={words[word]} is a word of launch, not of a template" for word in wrong]
        )
    given = words_with_recipe(words) if "recipe" in words else words_of_settings(words)
    line = read_line([f"{key}={value}" for key, value in given.items()])
    return Template(line, make_plan(line.nodes, line.work, line.environment), submit)


def words_with_recipe(words: Mapping[str, str]) -> dict[str, str]:
    """The words of a launch for a node of a recipe."""
    given = {key: value for key, value in words.items() if key not in ("node", "submit")}
    given["stage"] = words.get("node") or words.get("stage", "all")
    return {"launcher": "slurm", **given}


def words_of_settings(words: Mapping[str, str]) -> dict[str, str]:
    """The words of a launch for settings alone; writes the recipe that they belong to.

    Raises UserError where stage or work folder are not named.
    """
    stage = words.get("stage", "")
    if missing := [word for word in ("stage", "work") if not words.get(word)]:
        raise UserError(
            [f"{word}= is not given: add it, or name a recipe and a node" for word in missing]
        )
    if "node" in words:
        raise UserError(f"node={words['node']} needs a recipe: add recipe=, or leave node= out")
    recipe = named_path("work", words["work"]).absolute() / f"{stage}.toml"
    claim_text(recipe, f"# Settings given to slurm/{stage}.sbatch.\n[{stage}]\n")
    kept = {key: words[key] for key in words if key in (*TEMPLATE_WORDS, *WORDS)}
    kept.pop("submit", None)
    settings = {
        key if key.startswith(f"{stage}.") else f"{stage}.{key}": value
        for key, value in words.items()
        if key not in (*TEMPLATE_WORDS, *WORDS)
    }
    return {"launcher": "slurm", **kept, "recipe": str(recipe), **settings}
