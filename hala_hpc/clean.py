"""Show what may go from a run: `python -m hala_hpc.clean work=runs/demo [confirm=true]`.

Without confirm=true nothing is removed. What an unfinished node or a report reads stays, and so do
summaries, records and logs. A node whose output was removed stays done, and so do its readers; a
new reader makes it again, and the launch prints what that costs.

kinds: units (of finished nodes), checkpoints (leftovers of finished nodes; of an unfinished node if
it is named), old (results of changed settings), outputs (of nodes that are named), cache.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import add_default_work, is_true, parse_arguments
from hala_hpc.commands.cleaning.removable import (
    DEFAULT_KINDS,
    CleaningPlan,
    PartKind,
    make_cleaning_plan,
)
from hala_hpc.commands.cleaning.removal import PartSize, measure_parts, remove_part
from hala_hpc.commands.command_line import run_command
from hala_hpc.commands.monitoring.slurm_jobs import find_active_jobs
from hala_hpc.commands.text_table import text_table
from hala_hpc.core.errors import OK, RETRY, UserError
from hala_hpc.core.lease import work_lease
from hala_hpc.core.printable import escape_controls, format_command
from hala_hpc.core.run import Run, all_nodes, read_run, resolve_work_folder

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "node": "nodes, stages or result folders, with commas (default: everything in the folder)",
    "kinds": "units, checkpoints, old, outputs, cache; with commas (default: the first three)",
    "confirm": "true: remove what is shown",
}
HEADS = ["node", "kind", "files", "GB"]


def clean(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    confirm, kinds = is_true(overrides, "confirm"), parse_kinds(overrides.get("kinds", ""))
    names = [name for name in overrides.get("node", "").split(",") if name]
    overrides = add_default_work(overrides, changes=confirm)
    run = read_run(resolve_work_folder(overrides))
    if not confirm:
        plan = make_cleaning_plan(run, kinds, names)
        print_cleaning_plan(plan, measure_parts(plan.parts))
        if plan.parts:
            given = [f"{key}={overrides[key]}" for key in ("node", "kinds") if key in overrides]
            again = format_command("clean", f"work={run.work}", *given, "confirm=true")
            print(f"nothing was removed; to remove it: {again}")
        return OK
    # No launch may start meanwhile, and no gate may submit a node that reads what goes.
    with work_lease(run.work) as lease:
        plan = make_cleaning_plan(run, kinds, names)
        sizes = measure_parts(plan.parts)
        print_cleaning_plan(plan, sizes)
        require_idle(plan)
        for part, size in zip(plan.parts, sizes, strict=True):
            lease.require()
            remove_part(part, size)
    if plan.parts:
        print("removed")
    return OK


def parse_kinds(text: str) -> tuple[PartKind, ...]:
    """Parse `kinds=`. Raises: UserError for an unknown one."""
    if not text:
        return DEFAULT_KINDS
    valid = [kind.value for kind in PartKind]
    if wrong := [name for name in text.split(",") if name not in valid]:
        raise UserError(f"kinds={text}: {wrong[0]!r} is none of {', '.join(valid)}")
    return tuple(PartKind(name) for name in text.split(","))


def require_idle(plan: CleaningPlan) -> None:
    """Refuse while jobs run for nodes of which something goes. Raises: UserError (RETRY)."""
    is_cache = any(part.node is None for part in plan.parts)
    named = [part.node for part in plan.parts if part.node]
    nodes = all_nodes(plan.run) if is_cache else named
    ids = [job.id for job in find_active_jobs(nodes)]
    alive = [node.name for node in nodes if not ids and node.artifact.is_alive()]
    if ids or alive:
        busy = f"jobs {', '.join(ids)} are" if ids else f"a worker of {alive[0]} is"
        raise UserError(
            f"{busy} active: wait, or cancel with {format_cancel(plan.run)}; nothing was removed",
            RETRY,
        )


def format_cancel(run: Run) -> str:
    """The command that ends the jobs of a run."""
    return format_command("cancel", f"work={run.work}")


def print_cleaning_plan(plan: CleaningPlan, sizes: Sequence[PartSize]) -> None:
    """Print what may go with its size, then what stays and why."""
    rows = [
        [part.name, part.kind.value, str(size.files), f"{size.size_bytes / 1e9:.3f}"]
        for part, size in zip(plan.parts, sizes, strict=True)
    ]
    if rows:
        print(text_table(rows, HEADS))
        files, size_bytes = sum(s.files for s in sizes), sum(s.size_bytes for s in sizes)
        print(f"\n{files} files, {size_bytes / 1e9:.3f} GB of them stored nowhere else")
    else:
        print(f"nothing in {plan.run.work} may go")
    for one in plan.required:
        print(escape_controls(f"{one.name} stays: {one.reason}"))


def main() -> None:
    """Command line of clean."""
    sys.exit(run_command(clean, sys.argv[1:]))


if __name__ == "__main__":
    main()
