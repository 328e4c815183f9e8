"""What the jobs of a node printed beside the workers' logs, by the scheduler: `logs/job-12_3.out`.

There alone stands why a job ended before any code of ours began: a line of the launcher's `setup`
that fails, a module or an interpreter that is missing, a prolog of the site.
"""

import re
from collections.abc import Collection
from pathlib import Path

from hala_hpc.backends.slurm.sbatch import SLURM_LINE
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import FailureClass, UserError
from hala_hpc.core.job_records import FailureReason
from hala_hpc.jobs.attempt_records import attempt_names, newest_attempt
from hala_hpc.jobs.log_file import read_tail, whole_log

#: Lines of a file that a failure shows.
SHOWN_LINES = 15


def job_files(artifact: Artifact, ids: Collection[str]) -> list[Path]:
    """The files of some jobs, or elements of arrays, in which something stands."""
    pattern = re.compile(rf"job-({'|'.join(map(re.escape, ids))})(_\d+)?\.out")
    found = [path for path in sorted(artifact.logs.glob("job-*.out")) if ids]
    return [path for path in found if pattern.fullmatch(path.name) and path.stat().st_size]


def job_file(artifact: Artifact, job: str) -> Path | None:
    """The file of one job or element; None where nothing stands in it."""
    path = artifact.logs / f"job-{job}.out"
    return path if path.is_file() and path.stat().st_size else None


def find_newest_job_output(artifact: Artifact) -> Path | None:
    """What the newest gate printed, else its workers; None where neither printed anything."""
    for number in reversed(artifact.job_ids()):
        if found := job_files(artifact, [number]):
            return found[-1]
    return None


def read_last_line(path: Path) -> str:
    """The last line that is not SLURM's own, else the last one."""
    lines = [line.strip() for line in read_tail(path, whole_log(path), SHOWN_LINES) if line.strip()]
    own = [line for line in lines if not SLURM_LINE.match(line)]
    return next(reversed(own or lines), "")


def setup_failure_reason(error: UserError, path: Path) -> FailureReason:
    """Why a job of this machine ended before its program began, with the end of what it printed."""
    lines = read_tail(path, whole_log(path), SHOWN_LINES)
    # The line itself, and what was said before it.
    text = "; ".join(line.strip() for line in lines[-2:])
    return FailureReason(
        text=f"{error}: {text}", kind=FailureClass.CONFIG_ERROR, log_tail=end_of(path)
    )


def end_of(path: Path) -> tuple[str, ...]:
    """The last lines of a file, after one that names it."""
    lines = read_tail(path, whole_log(path), SHOWN_LINES)
    return (f"the end of {path}:", *(f"  {line}" for line in lines))


def has_attempt_begun(artifact: Artifact, first: int) -> bool:
    """Whether an attempt of this round, or of a later one, has begun."""
    if any(name.round >= first for name in attempt_names(artifact)):
        return True
    newest = artifact.newest_round()
    leases = (newest_attempt(artifact, worker) for worker in range(newest.workers if newest else 0))
    return any(name is not None and name.round >= first for name in leases)


def startup_failure_lines(artifact: Artifact) -> tuple[str, ...]:
    """The end of the file of a worker, after a line that names it; empty where a worker began."""
    newest, jobs = artifact.newest_round(), artifact.jobs()
    if newest is None or jobs is None or jobs.round != newest.round or not jobs.workers:
        return ()
    files = job_files(artifact, [jobs.workers])
    if newest.spec.is_local or not files or has_attempt_begun(artifact, newest.round):
        return ()
    return end_of(files[0])
