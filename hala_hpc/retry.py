"""Run failed nodes again: `python -m hala_hpc.retry work=runs/demo [node=arabic] [rejected=true]`.

`failed=true`, the default, removes the failures of nodes, and the rejected rows of their unfinished
units, so that the launch command runs them again. What is finished stays as it is. `rejected=true`
writes a recipe with a new node for the rows that a finished node rejected. Both print what they do,
and the next command; with `dry_run=true` they only print it.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.commands.arguments import add_default_work, is_true, parse_arguments
from hala_hpc.commands.command_line import run_command
from hala_hpc.commands.monitoring.node_reasons import explain_failure
from hala_hpc.commands.monitoring.slurm_jobs import find_active_jobs
from hala_hpc.core.claims import remove_claims
from hala_hpc.core.errors import OK, RETRY, UserError
from hala_hpc.core.lease import work_lease
from hala_hpc.core.printable import escape_controls, format_command
from hala_hpc.core.run import Run, RunNode, read_run, resolve_work_folder
from hala_hpc.jobs.quarantine import quarantine_misplaced

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "node": "a node or a stage (default: every node that failed)",
    "failed": "true: run failed nodes again, with the same settings (default)",
    "rejected": "true: run the rejected rows of a finished node in a node of their own",
    "dry_run": "true: print what would be done, and do nothing",
}
#: Numbers of units that are listed; the rest is only counted.
LISTED = 10


@dataclass(frozen=True)
class FailedNode:
    """A node that has failed, and what a retry removes."""

    node: RunNode
    missing: list[int]
    """Its units without a marker."""
    rejected: int
    """Rejected rows of these units: finished, but not yet part of a result."""


def retry(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    overrides = add_default_work(overrides, changes=True)
    dry_run, rejected = is_true(overrides, "dry_run"), is_true(overrides, "rejected")
    failed = is_true(overrides, "failed")
    if rejected and failed:
        raise UserError("failed= and rejected= are given: write one of them")
    if "failed" in overrides and not (failed or rejected):
        raise UserError("failed=false: there is nothing else to run again; write rejected=true")
    run = read_run(resolve_work_folder(overrides))
    if rejected:
        from hala_hpc.commands.retry_rejected import retry_rejected

        return retry_rejected(run, overrides.get("node", ""), dry_run)
    if dry_run:
        print_retry_plan(run, find_failed(run, overrides))
        print("nothing was changed: this was a dry run")
        return OK
    with work_lease(run.work):
        found = find_failed(run, overrides)
        print_retry_plan(run, found)
        for failed_node in found:
            remove_failure(failed_node)
    return OK


def find_failed(run: Run, overrides: dict[str, str]) -> list[FailedNode]:
    """The failed nodes that a command selects.

    Raises: UserError for nodes that did not fail, (RETRY) for those with running jobs.
    """
    named = "node" in overrides
    nodes = run.find_nodes(overrides["node"]) if named else run.nodes
    failed = [node for node in nodes if os.path.lexists(node.artifact.failure_file)]
    failed = [node for node in failed if node.artifact.summary() is None]
    if named and not failed:
        names = ", ".join(node.name for node in nodes)
        raise UserError(
            f"node={overrides['node']}: {names} has not failed; for rejected rows of a finished "
            "node write rejected=true"
        )
    if busy := find_active_jobs(failed):
        ids = ", ".join(job.id for job in busy)
        raise UserError(
            f"jobs {ids} of {', '.join({job.node for job in busy})} are active: wait for them, or "
            f"cancel them with {format_command('cancel', f'work={run.work}')}",
            RETRY,
        )
    return [inspect_failed_node(node) for node in failed]


def inspect_failed_node(node: RunNode) -> FailedNode:
    """Find what a retry of a node removes."""
    missing = node.artifact.missing_units(node.units)
    rejected = sum(count_unit_rejections(node, unit) for unit in missing)
    return FailedNode(node, missing, rejected)


def count_unit_rejections(node: RunNode, unit: int) -> int:
    """Count the rejected rows in the journal of an unfinished unit."""
    from hala_hpc.engines.generation.unit_state import count_rejections

    return count_rejections(node.artifact.state_dir(unit))


def print_retry_plan(run: Run, found: list[FailedNode]) -> None:
    """Print what is removed, what runs again, and the next command."""
    if not found:
        print(f"no node has failed in {run.work}: nothing to run again")
        print(f"resume what is not done with: {run.launch_command}")
        return
    for failed_node in found:
        node, many = failed_node.node, len(failed_node.missing)
        print(f"{node.name}: its failure is removed: {explain_failure(node.artifact)}")
        if not many:
            print("  all its units are done and stay; its gate collects them again")
            continue
        listed = ", ".join(map(str, failed_node.missing[:LISTED])) + (
            ", ..." if many > LISTED else ""
        )
        print(f"  {many} of {node.units} units run again: {listed}; {node.units - many} stay")
        if failed_node.rejected:
            print(f"  {failed_node.rejected} rejected rows of these units run again")
    print(f"then run: {run.launch_command}")


def remove_failure(failed_node: FailedNode) -> None:
    """Remove all traces of a failure; no worker runs, and the lease of the folder is held."""
    artifact = failed_node.node.artifact
    for line in quarantine_misplaced(artifact):
        print(f"{failed_node.node.name}: {escape_controls(line)}")
    remove_claims(artifact)
    for path in artifact.shared.glob("first-*.json"):
        # A node that was stopped for its first rows is judged by new ones.
        path.unlink(missing_ok=True)
    if failed_node.rejected:
        from hala_hpc.engines.generation.unit_state import remove_rejections

        # Answers that workers exchanged would be taken for new ones.
        shutil.rmtree(artifact.shared, ignore_errors=True)
        for unit in failed_node.missing:
            remove_rejections(artifact.state_dir(unit))
    # Last, so that a retry that is killed is recognized as unfinished.
    artifact.failure_file.unlink(missing_ok=True)


def main() -> None:
    """Command line of retry."""
    sys.exit(run_command(retry, sys.argv[1:]))


if __name__ == "__main__":
    main()
