"""`dry_run=true`: print what a launch would do, without side effects."""

import shlex

from hala_hpc.backends.slurm.backend import SlurmBackend, script_file
from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.cost import Cost, estimate_costs, sum_left
from hala_hpc.commands.planning.hub_dependencies import (
    find_hub_dependencies,
    format_fetch_command,
    make_hub_site,
)
from hala_hpc.commands.planning.memory_plan import estimate_nodes, find_misfits, format_memory_need
from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.text_table import text_table
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.estimate import MemoryNeed, format_hours
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.code_snapshot import resolve_launch_code
from hala_hpc.jobs.spec import gate_job, make_spec, worker_job

HEADER = ("node", "stage", "state", "units", "workers", "each worker", "needs at least", "after")
#: Index of the column with GPU hours, which is added for launchers with a scheduler.
GPU_HOURS_COLUMN = 5


def print_plan(command_line: CommandLine, chosen: dict[str, Step]) -> None:
    """Print every job that SLURM would get; then the nodes, hours and missing downloads."""
    missing = [step for step in chosen.values() if step.state != "done"]
    if command_line.launcher.backend == "slurm":
        # Scripts first: they are thousands of lines for a long recipe, and the table stays visible.
        print_scripts(command_line, missing)
    print(
        f"recipe {command_line.recipe}\nlauncher {command_line.launcher.name}\n"
        f"work {command_line.work}\n"
    )
    estimates = estimate_nodes(chosen, command_line.launcher)
    rows = [format_plan_row(step, estimates[name].need) for name, step in chosen.items()]
    header = list(HEADER)
    found: dict[str, Cost] = {}
    if command_line.launcher.backend == "slurm":
        found = estimate_costs(chosen, estimates)
        header.insert(GPU_HOURS_COLUMN, "GPU hours")
        for cells, cost in zip(rows, found.values(), strict=True):
            cells.insert(GPU_HOURS_COLUMN, cost.describe_left())
    print(text_table(rows, header))
    print(
        f"\n{len(chosen) - len(missing)} nodes are done, {len(missing)} would be "
        f"{'run on this machine' if command_line.launcher.backend == 'local' else 'submitted'}"
    )
    print_hours(command_line, found)
    print_misfits(find_misfits(chosen, estimates))
    print_fetches(command_line, missing)


def print_hours(command_line: CommandLine, found: dict[str, Cost]) -> None:
    """Print GPU hours of all missing nodes, their source, and whether confirm=true is needed."""
    hours, unknown = sum_left(found.values())
    if not hours and not unknown:
        return
    uncounted = f", {unknown} nodes not counted: their model or rows are unknown" if unknown else ""
    limit, budget = command_line.launcher.max_gpu_hours, command_line.launcher.budget_gpu_hours
    print(
        f"they take about {format_hours(hours)} GPU hours{uncounted}; an estimate, right within a "
        "factor of two or three: ~ is from published speeds and sizes "
        "(hala_hpc/commands/planning/throughput.toml), measured is from this run; "
        "format=markdown shows the calculation for each node"
    )
    if hours > limit and not command_line.confirm:
        print(f"max_gpu_hours={limit:g}: the estimate exceeds it; add confirm=true to submit")
    if budget is not None:
        print(f"budget_gpu_hours={budget:g} applies to all results in {command_line.work}")


def print_misfits(faults: list[str]) -> None:
    """Print the nodes that do not fit the resources they request: a launch refuses them."""
    if faults:
        print("\nwould be refused, as they do not fit the resources they request:")
        print("\n".join(f"  {fault}" for fault in faults))


def print_fetches(command_line: CommandLine, missing: list[Step]) -> None:
    """Print what must be fetched from the hub before the jobs can run, and the command for it."""
    broken = [
        dependency.message
        for dependency in find_hub_dependencies(missing, make_hub_site(command_line))
        if dependency.problems
    ]
    if broken:
        print("\nto fetch first:")
        print("\n".join(f"  {message}" for message in broken))
        print(f"with\n  {format_fetch_command(command_line.overrides)}")


def format_plan_row(step: Step, need: MemoryNeed) -> list[str]:
    """One row of the table."""
    resources = step.node.settings.resources
    return [
        step.name,
        step.node.stage.name,
        describe_state(step),
        str(step.units),
        str(step.workers),
        describe_resources(resources),
        format_memory_need(need),
        shorten_list(step.node.input_nodes()),
    ]


def shorten_list(names: list[str]) -> str:
    """Join the first names of a list that may be long."""
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(names[:4] if more else names) + more or "-"


def describe_state(step: Step) -> str:
    """Format a state: `done`, `partial (37/64)`, `new`, `stale (reason)`, `damaged (reason)`."""
    if step.state == "partial":
        return f"partial ({step.done_units}/{step.units})"
    return f"{step.state} ({step.reason})" if step.reason else step.state


def describe_resources(resources: Resources) -> str:
    """Format nodes, ranks, GPUs, cores, memory and time of one worker."""
    parts = [f"{resources.nodes} node{'s' if resources.nodes > 1 else ''}"]
    parts.append(f"{resources.ranks_per_node} rank{'s' if resources.ranks_per_node > 1 else ''}")
    parts += [f"{resources.gpus_per_node} GPU"] if resources.gpus_per_node else []
    return ", ".join(
        [
            *parts,
            f"{resources.cpus_per_rank} cores/rank",
            f"{resources.mem_gb} GB",
            f"{resources.timeout_min} min",
        ]
    )


def print_scripts(command_line: CommandLine, missing: list[Step]) -> None:
    """Print every sbatch command and the script of all jobs.

    Ids of jobs that are not submitted yet appear as `<gate of node>`.
    """
    # The version of the code appears in the commands only if it is a copied folder (snapshot).
    code = (
        resolve_launch_code(command_line.launcher, command_line.work)
        if command_line.launcher.snapshot
        else LaunchedCode()
    )
    backend = SlurmBackend()
    names = {step.name for step in missing}
    for step in missing:
        spec = make_spec(command_line.launcher, step.node.settings, step.node.stage.env, code)
        after = tuple(f"<gate of {n}>" for n in step.node.input_nodes() if n in names)
        workers = worker_job(step.artifact, step.workers, spec, after)
        gate = gate_job(step.artifact, 1, spec, f"<workers of {step.name}>")
        print(f"\n# ---- {step.name}: workers\n{format_command_lines(backend.command(workers))}")
        print(f"\n# ---- {step.name}: gate\n{format_command_lines(backend.command(gate))}")
    print(f"\n# ---- {script_file()}\n{script_file().read_text()}\n# ---- the plan")


def format_command_lines(command: list[str]) -> str:
    """Format a command for reading, one argument per line."""
    return " \\\n    ".join(shlex.quote(argument) for argument in command)
