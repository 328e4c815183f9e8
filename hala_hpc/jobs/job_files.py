"""Output files that SLURM writes for the jobs of a node: `logs/job-12_3.out`.

Only these show why a job ended before our code started: a failing `setup` line of the launcher,
a missing module or interpreter, a prolog of the site.
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

#: Lines of an output file that a failure shows.
SHOWN_LINES = 15


def job_files(artifact: Artifact, ids: Collection[str]) -> list[Path]:
    """The non-empty output files of some jobs and their array tasks."""
    pattern = re.compile(rf"job-({'|'.join(map(re.escape, ids))})(_\d+)?\.out")
    found = [path for path in sorted(artifact.logs.glob("job-*.out")) if ids]
    return [path for path in found if pattern.fullmatch(path.name) and path.stat().st_size]


def job_file(artifact: Artifact, job: str) -> Path | None:
    """The output file of one job or array task; None if it is absent or empty."""
    path = artifact.logs / f"job-{job}.out"
    return path if path.is_file() and path.stat().st_size else None


def find_newest_job_output(artifact: Artifact) -> Path | None:
    """Output file of the newest gate, else of the workers; None if both are empty."""
    for number in reversed(artifact.job_ids()):
        if found := job_files(artifact, [number]):
            return found[-1]
    return None


def read_last_line(path: Path) -> str:
    """The last line that SLURM itself did not write, else the last line."""
    lines = [line.strip() for line in read_tail(path, whole_log(path), SHOWN_LINES) if line.strip()]
    own = [line for line in lines if not SLURM_LINE.match(line)]
    return next(reversed(own or lines), "")


def setup_failure_reason(error: UserError, path: Path) -> FailureReason:
    """Why a local job ended before its program started, with the end of its output."""
    lines = read_tail(path, whole_log(path), SHOWN_LINES)
    # The failing `setup` line, and what was printed before it.
    text = "; ".join(line.strip() for line in lines[-2:])
    return FailureReason(
        text=f"{error}: {text}", kind=FailureClass.CONFIG_ERROR, log_tail=end_of(path)
    )


def end_of(path: Path) -> tuple[str, ...]:
    """The last lines of a file, after a line that names it."""
    lines = read_tail(path, whole_log(path), SHOWN_LINES)
    return (f"the end of {path}:", *(f"  {line}" for line in lines))


def has_attempt_begun(artifact: Artifact, first: int) -> bool:
    """Whether an attempt of this round or of a later one has started."""
    if any(name.round >= first for name in attempt_names(artifact)):
        return True
    newest = artifact.newest_round()
    leases = (newest_attempt(artifact, worker) for worker in range(newest.workers if newest else 0))
    return any(name is not None and name.round >= first for name in leases)


def startup_failure_lines(artifact: Artifact) -> tuple[str, ...]:
    """The end of a worker's output file, after a line that names it; empty if a worker started."""
    newest, jobs = artifact.newest_round(), artifact.jobs()
    if newest is None or jobs is None or jobs.round != newest.round or not jobs.workers:
        return ()
    files = job_files(artifact, [jobs.workers])
    if newest.spec.is_local or not files or has_attempt_begun(artifact, newest.round):
        return ()
    return end_of(files[0])
