"""Write the table of docs/failures.md from POLICY: `python docs/failures_table.py [check]`.

With `check` nothing is written; the exit code is 1 if the page is not current.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from hala_hpc.core.errors import FailureClass
from hala_hpc.core.files import write_text
from hala_hpc.jobs.failures.policy import POLICY, Action, Blame, Remedy

PAGE = Path(__file__).with_name("failures.md")
#: The table is between these lines of the page.
BEGIN, END = "<!-- made by docs/failures_table.py -->\n", "<!-- end -->\n"
HEAD = ("class", "recognized by", "next round", "until", "blamed")

#: How `jobs/failures/classify.py` recognizes each class.
RECOGNIZED: Mapping[FailureClass, str] = {
    FailureClass.PREEMPTED: "SLURM's state PREEMPTED, REQUEUED or REVOKED; a termination signal "
    "long before the time limit",
    FailureClass.TIMEOUT: "SLURM's state TIMEOUT or DEADLINE; a termination signal within "
    "`signal_delay_s` of the time limit",
    FailureClass.NODE_FAILURE: "SLURM's state NODE_FAIL, BOOT_FAIL or LAUNCH_FAILED; `BadNode`, by "
    "which a job reports that its node is unfit; `NODE_PATTERNS` in the log",
    FailureClass.HOST_OOM: "a kill by the kernel in the job's cgroup; SLURM's state OUT_OF_MEMORY; "
    "`MemoryError`",
    FailureClass.GPU_OOM: "torch's `OutOfMemoryError`; messages of CUDA, vLLM and NCCL in the log",
    FailureClass.ENGINE: "`EngineDied`, `EngineHung` (no step within `engine.step_timeout_s`), "
    "`RankHung`",
    FailureClass.BAD_DATA: "exit code 65",
    FailureClass.EXCEPTION: "exit code 70, a traceback",
    FailureClass.CONFIG_ERROR: "exit codes 64, 66, 69, 73, 78; a job that ends before our code "
    "begins; `SET_UP_PATTERNS` in the log",
    FailureClass.CANCELLED: "SLURM's state CANCELLED",
    FailureClass.KILLED: "an end by a signal of unknown origin",
    FailureClass.NO_REPORT: "no record of the attempt, and nothing in SLURM's accounting",
    FailureClass.SECONDARY: "`RankLost`, `LeaseLost`, `StopRequested`",
    FailureClass.EARLY: "`InputNotFinished`",
}


def member_docs(enumeration: type[StrEnum]) -> dict[str, str]:
    """The docstring under each member of an enumeration, from its source."""
    tree = ast.parse(inspect.getsource(enumeration)).body[0]
    assert isinstance(tree, ast.ClassDef)
    return {
        ast.unparse(member.targets[0]): " ".join(str(text.value.value).split())
        for member, text in pairwise(tree.body)
        if isinstance(member, ast.Assign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def format_table() -> str:
    """The table of all classes, in the order of POLICY."""
    actions, blames = member_docs(Action), member_docs(Blame)
    rows = [
        (
            f"`{kind}`: {remedy.meaning}",
            RECOGNIZED[kind],
            format_action(remedy, actions[remedy.action.name]),
            f"{remedy.bound.counts}: {remedy.bound.limit}",
            remedy.blames,
        )
        for kind, remedy in POLICY.items()
    ]
    lines = [HEAD, tuple("---" for _ in HEAD), *rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{table}\n" + "".join(
        f"- **{name.lower()}**: {text}\n" for name, text in blames.items()
    )


def format_action(remedy: Remedy, text: str) -> str:
    """What follows, with the number of failures that it takes."""
    after = f" after {remedy.after} failures on one node" if remedy.after > 1 else ""
    return f"**{remedy.action}**{after}: {text[0].lower()}{text[1:].rstrip('.')}"


def main() -> None:
    """Write the page again, or report that it is not current."""
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    current = f"{head}{BEGIN}\n{format_table()}\n{END}{rest.split(END)[1]}"
    if sys.argv[1:] == ["check"]:
        sys.exit(page != current)
    write_text(PAGE, current)


if __name__ == "__main__":
    main()
