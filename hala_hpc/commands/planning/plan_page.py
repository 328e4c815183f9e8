"""`dry_run=true format=markdown`: print the nodes of a plan as a page with each calculation."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.cost import HOUR_S, Cost, estimate_costs, sum_left
from hala_hpc.commands.planning.memory_plan import estimate_nodes, find_misfits
from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.planning.plan_estimate import shipped_throughput
from hala_hpc.core.estimate import Estimate, TextAmount, format_amount, format_hours
from hala_hpc.engines.models.memory import format_gb

DASH = "-"
HEADER = (
    "node",
    "stage",
    "rows",
    "tokens",
    "memory requested (minimum)",
    "GPUs",
    "minimum per GPU",
    "GPU hours",
    "hours",
    "calculation",
)
#: Whether each column holds numbers.
TO_RIGHT = (False, False, True, True, True, True, True, True, True, False)


def print_plan_page(command_line: CommandLine, chosen: Mapping[str, Step]) -> None:
    """Print a title, an explanation, a row for each node, and what does not fit."""
    estimates = estimate_nodes(chosen, command_line.launcher)
    found = estimate_costs(chosen, estimates)
    print("\n".join(format_page_lines(command_line, chosen, estimates, found)))


def format_page_lines(
    command_line: CommandLine,
    chosen: Mapping[str, Step],
    estimates: Mapping[str, Estimate],
    found: Mapping[str, Cost],
) -> Iterator[str]:
    """The lines of the page."""
    recipe, launcher = Path(command_line.recipe).stem, command_line.launcher.name
    yield f"# Nodes of the recipe {recipe} with the launcher {launcher}\n"
    yield f"Made by `{format_page_command(command_line)}`.\n"
    yield from how_to_read()
    yield markdown_row(HEADER)
    yield markdown_row(["---:" if right else "---" for right in TO_RIGHT])
    for name, step in chosen.items():
        yield markdown_row(format_page_cells(step, estimates[name], found[name]))
    hours, unknown = sum_left(found.values())
    uncounted = f", {unknown} nodes not counted" if unknown else ""
    yield f"\nTotal: about {format_hours(hours)} GPU hours{uncounted}."
    if faults := find_misfits(chosen, estimates):
        yield "\nDoes not fit the requested resources:\n"
        yield from (f"- {fault}" for fault in faults)


def format_page_command(command_line: CommandLine) -> str:
    """The command that makes the page, without `work`."""
    overrides = [f"{key}={value}" for key, value in command_line.overrides.items() if key != "work"]
    return " ".join(["python -m hala_hpc.launch", *overrides])


def how_to_read() -> Iterator[str]:
    """Explain the columns and their accuracy."""
    gpu = f"{shipped_throughput().peak_flops:.3g} FLOP/s"
    yield (
        "Every figure is an estimate. Rows, tokens and hours follow from published sizes and "
        f"speeds, for a GPU of {gpu} in bfloat16. "
        "`hala_hpc/commands/planning/throughput.toml` has the source of each figure, or says that "
        "it is assumed. Hours are right within a factor of two or three. GPU hours include the "
        "start of each job; the calculation does not. Hours are those of one worker if all "
        "workers run at the same time.\n"
    )
    yield (
        "Memory is in GB of 2^30 bytes. The minimum is what a node cannot run without: weights, "
        "the cache of one row if the shape of the model is known, optimizer states of a training. "
        "Activations and buffers are added to that (`hala_hpc/engines/models/memory.py`). The "
        "minimum follows from the files of a model, or, if it is not fetched, from the published "
        "number of its weights. A node that gets less is refused. The calculation of a training "
        "has its total memory (`hala_hpc/engines/training/rank_memory.py`). "
        f"{DASH} is unknown, or small.\n"
    )


def format_page_cells(step: Step, estimate: Estimate, cost: Cost) -> list[str]:
    """Cells of one row of the table."""
    resources = step.node.settings.resources
    gpus = resources.nodes * resources.gpus_per_node
    text, need = estimate.output.text, estimate.need
    memory = f"{resources.mem_gb} GB" + (
        f" ({format_gb(need.host_bytes)})" if need.host_bytes else ""
    )
    return [
        step.name,
        step.node.stage.name,
        format_amount(text.rows) if text else DASH,
        format_tokens(text) if text else DASH,
        memory,
        f"{step.workers} x {gpus}" if gpus else DASH,
        format_gb(need.gpu_bytes) if need.gpu_bytes else DASH,
        cost.describe_left() if gpus else DASH,
        format_node_hours(estimate, cost, gpus * step.workers),
        "; ".join(part for part in (estimate.hours_breakdown, need.breakdown) if part) or DASH,
    ]


def format_tokens(text: TextAmount) -> str:
    """Format the tokens of a corpus: of both sides if it is translated."""
    sides = [text.source, text.target] if text.target else [text.source]
    return " + ".join(map(format_amount, sides))


def format_node_hours(estimate: Estimate, cost: Cost, gpus: int) -> str:
    """Format the hours of a node with all its workers running at the same time."""
    if gpus:
        return f"~{format_hours(cost.left / gpus)}" if cost.left else DASH
    return f"~{format_hours(estimate.host_seconds / HOUR_S)}" if estimate.host_seconds else DASH


def markdown_row(cells: list[str] | tuple[str, ...]) -> str:
    """Format a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
