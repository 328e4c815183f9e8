"""Choose the nodes of a launch, and find which of them `clean` removed and others need again."""

from dataclasses import replace
from typing import TYPE_CHECKING

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.estimate import format_hours
from hala_hpc.core.recipe import include_input_nodes

if TYPE_CHECKING:
    from hala_hpc.commands.command_line import CommandLine


def choose_steps(command_line: "CommandLine", steps: dict[str, Step]) -> dict[str, Step]:
    """The chosen nodes and all that they need, inputs first.

    A node whose output was removed by `clean` is done as long as all its readers are. Otherwise
    its state becomes `cleaned`: it is made again, and so is what it reads itself.
    """
    names = include_input_nodes(command_line.nodes, command_line.chosen)
    chosen = {name: steps[name] for name in names}
    needed_by: dict[str, str] = {}
    for name in reversed(names):
        step = chosen[name]
        if step.cleaned and name in needed_by:
            step = chosen[name] = replace(
                step, state="cleaned", done_units=0, reason=describe_remake(step, needed_by[name])
            )
        if step.state != "done":
            needed_by |= dict.fromkeys(step.node.input_nodes(), name)
    return chosen


def describe_remake(step: Step, reader: str) -> str:
    """Why a cleaned node is made again, and what it took."""
    # Imported only here: few plans have a cleaned node.
    from hala_hpc.commands.planning.cost import spent_hours

    summary = step.artifact.summary()
    hours = (summary.seconds if summary else 0.0) / 3600
    gpu_hours = spent_hours(step.artifact)
    cost = f"{format_hours(gpu_hours)} GPU hours" if gpu_hours else f"{hours:.2f} worker hours"
    when = step.cleaned.text if step.cleaned else ""
    return f"its output was {when} and {reader} needs it; it took {cost}"
