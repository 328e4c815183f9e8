"""Read every file of a run again: `python -m hala_hpc.verify work=runs/demo [repair=true]`.

Compares inputs, units and outputs with what was written down when they were finished, by name,
size and SHA-256, and the fingerprints of what each node was made of. Ends with 65 where anything
is not whole.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import is_true, named_run, read_words
from hala_hpc.commands.command_line import report_mistakes
from hala_hpc.commands.monitoring.slurm_jobs import living_jobs
from hala_hpc.commands.text_table import text_table
from hala_hpc.commands.verification import NodeReport, repair, verify_node
from hala_hpc.core.errors import BAD_DATA, OK, RETRY, UserError
from hala_hpc.core.lease import work_lease
from hala_hpc.core.printable import command
from hala_hpc.core.run import Run, RunNode, all_nodes, read_run, work_folder

WORDS = {
    "work": "folder of a run (default: runs/<recipe>)",
    "recipe": "recipe whose run is meant, where work is not given",
    "node": "a node or a stage (default: everything in the folder)",
    "repair": "true: forget what is not whole, so that the line of the launch makes it again",
}
#: Faults of a node that are listed before the rest is only counted.
LISTED = 20
HEADS = ["node", "state", "files", "GB", "faults"]


def verify(arguments: Sequence[str]) -> int:
    """Do what a line asks for; return the exit code. Raises UserError for mistakes."""
    words = read_words(arguments, str(__doc__), WORDS)
    if words is None:
        return OK
    must_repair = is_true(words, "repair")
    words = named_run(words, changes=must_repair)
    run = read_run(work_folder(words))
    nodes = run.meant_by(words["node"]) if "node" in words else all_nodes(run)
    reports = [read_again(node) for node in nodes]
    print_reports(reports)
    broken = [report for report in reports if report.faults]
    if not broken:
        print("all that is finished is whole")
        return OK
    if must_repair:
        return repair_all(run, broken)
    print(
        f"to make it again from what is whole: "
        f"{command('verify', f'work={run.work}', 'repair=true')}, then {run.line}"
    )
    return BAD_DATA


def read_again(node: RunNode) -> NodeReport:
    """The report of a node; says on a terminal what is read meanwhile."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{node.name} ...", end="", file=sys.stderr, flush=True)
    report = verify_node(node)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return report


def print_reports(reports: list[NodeReport]) -> None:
    """A row for each node, then what is wrong."""
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
    """Forget what is not whole. Raises UserError (RETRY) while jobs are at work on it."""
    with work_lease(run.work):
        if busy := living_jobs([report.node for report in broken]):
            ids = ", ".join(job.id for job in busy)
            raise UserError(
                f"jobs {ids} are at work on what is not whole: wait for them, or end them with "
                f"{command('cancel', f'work={run.work}')}",
                RETRY,
            )
        lines = [f"{report.name}: {line}" for report in broken for line in repair(report)]
    print("\n".join(lines))
    print(f"then give the line: {run.line}")
    return OK


def main() -> None:
    """Command line of verify."""
    sys.exit(report_mistakes(verify, sys.argv[1:]))


if __name__ == "__main__":
    main()
