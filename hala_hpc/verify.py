"""Read every file of a run again: `python -m hala_hpc.verify work=runs/demo [repair=true]`.

Compares inputs, units and outputs with what was recorded when they were finished: name, size and
SHA-256, and the fingerprints of the inputs of each node. Exits with 65 if anything is damaged.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import add_default_work, is_true, parse_arguments
from hala_hpc.commands.command_line import run_command
from hala_hpc.commands.monitoring.slurm_jobs import find_active_jobs
from hala_hpc.commands.text_table import text_table
from hala_hpc.commands.verification import NodeReport, repair_node, verify_node
from hala_hpc.core.errors import BAD_DATA, OK, RETRY, UserError
from hala_hpc.core.lease import work_lease
from hala_hpc.core.printable import format_command
from hala_hpc.core.run import Run, RunNode, all_nodes, read_run, resolve_work_folder

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "node": "a node or a stage (default: everything in the folder)",
    "repair": "true: remove what is damaged, so that the launch command makes it again",
}
#: Faults of a node that are listed; the rest is only counted.
LISTED = 20
HEADS = ["node", "state", "files", "GB", "faults"]


def verify_run(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    must_repair = is_true(overrides, "repair")
    overrides = add_default_work(overrides, changes=must_repair)
    run = read_run(resolve_work_folder(overrides))
    nodes = run.find_nodes(overrides["node"]) if "node" in overrides else all_nodes(run)
    reports = [report_node(node) for node in nodes]
    print_reports(reports)
    broken = [report for report in reports if report.faults]
    if not broken:
        print("everything finished is intact")
        return OK
    if must_repair:
        return repair_all(run, broken)
    print(
        f"to make it again from what is intact: "
        f"{format_command('verify', f'work={run.work}', 'repair=true')}, then {run.launch_command}"
    )
    return BAD_DATA


def report_node(node: RunNode) -> NodeReport:
    """Verify a node; on a terminal, show which node is being read."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{node.name} ...", end="", file=sys.stderr, flush=True)
    report = verify_node(node)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return report


def print_reports(reports: list[NodeReport]) -> None:
    """Print a row for each node, then its faults."""
    rows = [
        [
            report.name,
            report.state,
            str(report.files),
            f"{report.size_bytes / 1e9:.3f}",
            str(len(report.faults) or "-"),
        ]
        for report in reports
    ]
    print(text_table(rows, HEADS))
    for report in reports:
        for line in report.faults[:LISTED]:
            print(f"{report.name}: {line}")
        if len(report.faults) > LISTED:
            print(f"{report.name}: and {len(report.faults) - LISTED} more")
        for line in report.notes:
            print(f"{report.name}: {line}")


def repair_all(run: Run, broken: list[NodeReport]) -> int:
    """Remove what is damaged. Raises: UserError (RETRY) while jobs are running for it."""
    with work_lease(run.work):
        if busy := find_active_jobs([report.node for report in broken]):
            ids = ", ".join(job.id for job in busy)
            raise UserError(
                f"jobs {ids} of damaged nodes are active: wait for them, or cancel them with "
                f"{format_command('cancel', f'work={run.work}')}",
                RETRY,
            )
        lines = [f"{report.name}: {line}" for report in broken for line in repair_node(report)]
    print("\n".join(lines))
    print(f"then run: {run.launch_command}")
    return OK


def main() -> None:
    """Command line of verify."""
    sys.exit(run_command(verify_run, sys.argv[1:]))


if __name__ == "__main__":
    main()
