"""Run again what failed: `python -m hala_hpc.retry work=runs/demo [node=arabic] [rejected=true]`.

`failed=true`, the default, forgets why nodes failed, and the rejected rows of their unfinished
units, so that the line of the launch runs them again. What is finished stays as it is.
`rejected=true` writes a recipe with a new node that takes the rows which a finished node rejected.
Both say what they do, and the line to give next; with `dry_run=true` they only say it.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.commands.arguments import is_true, named_run, read_words
from hala_hpc.commands.command_line import report_mistakes
from hala_hpc.commands.monitoring.node_reasons import why_failed
from hala_hpc.commands.monitoring.slurm_jobs import living_jobs
from hala_hpc.core.claims import drop_claims
from hala_hpc.core.errors import OK, RETRY, UserError
from hala_hpc.core.lease import work_lease
from hala_hpc.core.printable import command, printable
from hala_hpc.core.run import Run, RunNode, read_run, work_folder
from hala_hpc.jobs.mending import mend_places

WORDS = {
    "work": "folder of a run (default: runs/<recipe>)",
    "recipe": "recipe whose run is meant, where work is not given",
    "node": "a node or a stage (default: every node that failed)",
    "failed": "true: run what failed again, with the same settings (default)",
    "rejected": "true: run the rejected rows of a finished node in a node of their own",
    "dry_run": "true: tell what would be done, and do nothing",
}
#: Numbers of units that are listed before the rest is only counted.
LISTED = 10


@dataclass(frozen=True)
class Again:
    """A node that has failed, and what there is to forget."""

    node: RunNode
    missing: list[int]
    """Its units without a mark."""
    rejected: int
    """Rejected rows of these units: finished, but not yet part of a result."""


def retry(arguments: Sequence[str]) -> int:
    """Do what a line asks for; return the exit code. Raises UserError for mistakes."""
    words = read_words(arguments, str(__doc__), WORDS)
    if words is None:
        return OK
    words = named_run(words, changes=True)
    dry_run, rejected = is_true(words, "dry_run"), is_true(words, "rejected")
    if rejected and is_true(words, "failed"):
        raise UserError("failed= and rejected= are given: write one of them")
    run = read_run(work_folder(words))
    if rejected:
        from hala_hpc.commands.retry_rejected import retry_rejected

        return retry_rejected(run, words.get("node", ""), dry_run)
    if dry_run:
        tell(run, find_failed(run, words))
        print("nothing was changed: this was a dry run")
        return OK
    with work_lease(run.work):
        found = find_failed(run, words)
        tell(run, found)
        for again in found:
            forget(again)
    return OK


def find_failed(run: Run, words: dict[str, str]) -> list[Again]:
    """The nodes that a line means. Raises UserError for those that did not fail or are at work."""
    named = "node" in words
    nodes = run.meant_by(words["node"]) if named else run.nodes
    failed = [node for node in nodes if os.path.lexists(node.artifact.failure_file)]
    failed = [node for node in failed if node.artifact.summary() is None]
    if named and not failed:
        names = ", ".join(node.name for node in nodes)
        raise UserError(
            f"node={words['node']}: {names} has not failed; for rejected rows of a finished node "
            "write rejected=true"
        )
    if busy := living_jobs(failed):
        ids = ", ".join(job.id for job in busy)
        raise UserError(
            f"jobs {ids} are at work on {', '.join({job.node for job in busy})}: wait for them, or "
            f"end them with {command('cancel', f'work={run.work}')}",
            RETRY,
        )
    return [again_of(node) for node in failed]


def again_of(node: RunNode) -> Again:
    """What there is to forget about a node."""
    missing = node.artifact.missing_units(node.units)
    rejected = sum(rejections_of(node, unit) for unit in missing)
    return Again(node, missing, rejected)


def rejections_of(node: RunNode, unit: int) -> int:
    """Rejected rows in the pieces of an unfinished unit."""
    from hala_hpc.engines.generation.unit_state import count_rejections

    return count_rejections(node.artifact.kept_folder(unit))


def tell(run: Run, found: list[Again]) -> None:
    """Say what is forgotten, what runs again, and with which line."""
    if not found:
        print(f"no node has failed in {run.work}: nothing to run again")
        print(f"what is not done goes on with: {run.line}")
        return
    for again in found:
        node, many = again.node, len(again.missing)
        print(f"{node.name}: forgets that it failed: {why_failed(node.artifact)}")
        if not many:
            print("  all its units are done and stay; its gate gathers them again")
            continue
        listed = ", ".join(map(str, again.missing[:LISTED])) + (", ..." if many > LISTED else "")
        print(f"  {many} of {node.units} units run again: {listed}; {node.units - many} stay")
        if again.rejected:
            print(f"  {again.rejected} rejected rows of these units are asked again")
    print(f"then give the line: {run.line}")


def forget(again: Again) -> None:
    """Remove the marks of a failure; no worker runs, and the lease of the folder is held."""
    artifact = again.node.artifact
    for line in mend_places(artifact):
        print(f"{again.node.name}: {printable(line)}")
    drop_claims(artifact)
    for path in artifact.shared.glob("first-*.json"):
        # A node that was stopped for its first rows is judged by those that come now.
        path.unlink(missing_ok=True)
    if again.rejected:
        from hala_hpc.engines.generation.unit_state import forget_rejections

        # Answers that workers passed on to each other would be taken for the new ones.
        shutil.rmtree(artifact.shared, ignore_errors=True)
        for unit in again.missing:
            forget_rejections(artifact.kept_folder(unit))
    # Last, so that a retry which is killed is seen to be unfinished.
    artifact.failure_file.unlink(missing_ok=True)


def main() -> None:
    """Command line of retry."""
    sys.exit(report_mistakes(retry, sys.argv[1:]))


if __name__ == "__main__":
    main()
