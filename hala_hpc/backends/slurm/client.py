"""Run SLURM's commands: query, change and cancel submitted jobs."""

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.environment import CODE_FOLDER_VARIABLE
from hala_hpc.core.errors import SchedulerUnavailable
from hala_hpc.core.sharing import is_sharing

#: Time limit in seconds: an overloaded controller answers late; with none, commands fail after
#: about 10 s.
ANSWER_LIMIT_S = 30
#: States of SLURM for jobs that have not ended, with the state shown to users.
STATES = {
    **dict.fromkeys(("PENDING", "REQUEUED", "REQUEUE_FED", "RESV_DEL_HOLD"), "pending"),
    **dict.fromkeys(("REQUEUE_HOLD", "SPECIAL_EXIT"), "held"),
    **dict.fromkeys(("RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED"), "running"),
    **dict.fromkeys(("RESIZING", "SIGNALING", "STAGE_OUT"), "running"),
}
#: One entry of squeue's dependency list, e.g. `afterok:12_*(unfulfilled)`.
DEPENDENCY = re.compile(
    r"(?P<kind>[a-z]+)(?::(?P<id>\d+)(?P<element>_\d+)?(?:_\*)?(?P<delay>\+\d+)?)?"
)


@dataclass(frozen=True)
class QueueRow:
    """A row of squeue: a job, one array task, or the pending tasks of an array."""

    id: str
    """Id of the job or array."""
    elements: str
    """Indices of the array tasks, e.g. `3` or `4-63%8`; `N/A` for a job without an array."""
    state: str
    """pending, running or held."""
    reason: str
    """SLURM's reason code for a pending job."""
    start: str
    """Actual or expected start, e.g. `2026-11-23T16:00:00`; `N/A` if unknown."""
    name: str
    folder: str
    """Working directory."""


def clean_environment() -> dict[str, str]:
    """The environment without a surrounding job: of SLURM's variables only SLURM_CONF stays.

    The code snapshot of that job is removed from PYTHONPATH, as other jobs may have another.
    """
    ours = (
        "SLURM_",
        "SBATCH_",
        "SRUN_",
        "SALLOC_",
        "SQUEUE_",
        "SACCT_",
        "SCANCEL_",
        CODE_FOLDER_VARIABLE,
    )
    found = {
        key: value
        for key, value in os.environ.items()
        if key == "SLURM_CONF" or not key.startswith(ours)
    }
    if folder := os.environ.get(CODE_FOLDER_VARIABLE):
        parts = found.pop("PYTHONPATH", "").split(os.pathsep)
        if rest := [part for part in parts if part not in ("", folder)]:
            found["PYTHONPATH"] = os.pathsep.join(rest)
    return found


def run_slurm(
    *argv: str, text: str = "", limit_s: float = ANSWER_LIMIT_S
) -> "subprocess.CompletedProcess[str]":
    """Run one of SLURM's commands.

    Raises: SchedulerUnavailable if SLURM does not answer.
    """
    conf = os.environ.get("SLURM_CONF")
    if conf and not Path(conf).exists():
        # SLURM's commands would search for a controller for 30 s.
        raise SchedulerUnavailable(
            f"SLURM_CONF={conf} does not exist; `unset SLURM_CONF`, or set that of a running "
            'cluster (after `make cluster`: eval "$(slurm/minislurm status)")'
        )
    try:
        done = subprocess.run(
            argv,
            check=False,
            env=clean_environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
    except FileNotFoundError as error:
        raise SchedulerUnavailable(f"no `{argv[0]}` on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerUnavailable(f"`{argv[0]}` did not answer within {limit_s} s") from error
    if done.returncode and is_unreachable(done.stderr):
        raise SchedulerUnavailable(f"`{argv[0]}`: {done.stderr.strip()}")
    return done


def is_unreachable(stderr: str) -> bool:
    """Whether a command failed because the controller does not answer."""
    signs = ("Unable to contact slurm controller", "Socket timed out", "Connection refused")
    return any(sign in stderr for sign in signs)


def query_queue(ids: Iterable[str] | None = None) -> list[QueueRow]:
    """Rows of squeue for some jobs, or for all jobs of this user; while sharing, of all users.

    A site may hide jobs of other users (PrivateData). Raises: SchedulerUnavailable if SLURM does
    not answer.
    """
    fields = "%F|%K|%T|%r|%S|%j|%Z"
    if ids is not None:
        rows = squeue(ids, fields)
    else:
        rows = query_rows(fields) if is_sharing() else query_own_rows(fields)
    found = []
    for number, elements, state, reason, start, name, *folder in rows:
        status = STATES.get(state)
        if status == "pending" and "held" in reason.lower():
            status = "held"
        if status:
            found.append(QueueRow(number, elements, status, reason, start, name, "|".join(folder)))
    return found


def query_own_rows(fields: str, *more: str) -> list[list[str]]:
    """The rows of squeue for this user's jobs, each split into its fields."""
    return query_rows(fields, f"--user={os.getuid()}", *more)


def query_rows(fields: str, *arguments: str) -> list[list[str]]:
    """The rows of squeue for these arguments, each split into its fields."""
    done = run_slurm("squeue", "--noheader", *arguments, f"--format={fields}")
    if done.returncode:
        raise SchedulerUnavailable(f"`squeue`: {done.stderr.strip()}")
    return split_rows(done.stdout)


def squeue(ids: Iterable[str], fields: str) -> list[list[str]]:
    """The rows of squeue for some jobs, each split into its fields."""
    wanted = sorted(set(ids))
    if not wanted:
        return []
    done = run_slurm("squeue", "--noheader", f"--jobs={','.join(wanted)}", f"--format={fields}")
    if done.returncode and "Invalid job id" not in done.stderr:
        raise SchedulerUnavailable(f"`squeue`: {done.stderr.strip()}")
    return split_rows(done.stdout)


def split_rows(text: str) -> list[list[str]]:
    """Split lines into fields at `|`."""
    return [line.strip().split("|") for line in text.splitlines() if line.strip()]


def replace_dependency(old_id: str, new_id: str) -> list[str]:
    """Make pending jobs that depend on one job depend on another; other dependencies stay.

    Returns the ids of the changed jobs. A job that started meanwhile is not changed.
    """
    rows, moved = query_own_rows("%F|%E", "--states=PENDING"), []
    for number, waits in dict(row for row in rows if len(row) == 2).items():
        dependency = replace_id(waits, old_id, new_id)
        if dependency is None:
            continue
        if (
            run_slurm(
                "scontrol", "update", f"JobId={number}", f"Dependency={dependency}"
            ).returncode
            == 0
        ):
            moved.append(number)
    return moved


def replace_id(waits: str, old_id: str, new_id: str) -> str | None:
    """A dependency list with one id replaced; None if the id is not in the list."""
    parts, found = [], False
    for separator, part in re.findall(r"([,?]?)([^,?]+)", waits):
        match = DEPENDENCY.match(part)
        if not match or not match["id"]:
            parts.append(separator + part.split("(")[0])
            continue
        number = match["id"] + (match["element"] or "")
        found = found or match["id"] == old_id
        target = new_id if match["id"] == old_id else number
        parts.append(f"{separator}{match['kind']}:{target}{match['delay'] or ''}")
    return "".join(parts) if found else None


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs; ended jobs are ignored."""
    if ids:
        run_slurm("scancel", "--quiet", *ids)


def cancel_command(ids: Sequence[str]) -> str:
    """The command by which a user cancels jobs."""
    return " ".join(["scancel", *ids])
