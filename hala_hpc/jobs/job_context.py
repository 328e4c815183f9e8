"""The context of a job: commits units, writes progress, watches the supervisor, reports errors."""

import contextlib
import functools
import logging
import math
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from hala_hpc.backends.slurm.task_environment import query_job_end
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import CodeVersion
from hala_hpc.core.environment import CODE_VARIABLE
from hala_hpc.core.errors import RETRY, LeaseLost, TransientError
from hala_hpc.core.file_facts import compute_file_digests, list_file_sizes
from hala_hpc.core.files import claim_folder
from hala_hpc.core.job_records import ErrorReport, Progress
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.stage import Stage, UnitCounts
from hala_hpc.core.versions import loaded_versions
from hala_hpc.jobs.failures.classify import failure_facts
from hala_hpc.jobs.repair import remove_folder

logger = logging.getLogger(__name__)

#: Bytes at the end of a worker's log that are searched for the reason why an engine died.
LOG_TAIL_BYTES = 262_144
#: Counts that grow with the work, and the value above which they show that work has been done.
#: Tokens are those of this attempt; the first count of rows and steps may include earlier attempts.
COUNTED = {"tokens": 0.0, "rows": math.inf, "step": math.inf}


class JobContext:
    """Implements `core.stage.UnitContext` for one attempt."""

    def __init__(self, artifact: Artifact, stage: Stage[Any], worker: int, attempt: str) -> None:
        self.artifact, self.stage, self.worker, self.attempt = artifact, stage, worker, attempt
        self.shared, self.cache = artifact.shared, artifact.folder.parent / "cache"
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.round = artifact.last_round()
        self.began = time.time()
        self.unit_began = time.monotonic()
        self.counts: dict[str, float] = {}
        self.loaded_s: float | None = None
        self.units_done = 0
        log = artifact.log_file(worker, self.rank)
        self.log_read = log.stat().st_size if log.exists() else 0
        self._counting = threading.Lock()
        self._stop = threading.Event()
        self._ended = threading.Event()

    @property
    def stop_requested(self) -> bool:
        """Whether the supervisor asked this process to stop."""
        return self._stop.is_set()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the job's time limit; None if unknown, and on ranks other than 0."""
        return None if self._job_end is None else self._job_end - time.time()

    @functools.cached_property
    def _job_end(self) -> float | None:
        # Queried once, by one rank, and only on demand, to limit the load on SLURM.
        return query_job_end() if self.rank == 0 else None

    def folder(self, unit: int) -> Path:
        """Create the private folder of this attempt for the files of a unit."""
        folder = self.artifact.attempt_folder(self.attempt) / f"{unit:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def state_dir(self, unit: int) -> Path:
        """Create the folder of a unit that outlives the attempt."""
        folder = self.artifact.state_dir(unit)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def report_progress(self, **counts: float) -> None:
        """Set counts of the progress record.

        The first growth of a count shows that libraries and models are loaded.
        """
        if self.loaded_s is None and any(
            counts.get(name, 0) > self.counts.get(name, first) for name, first in COUNTED.items()
        ):
            self.loaded_s = round(time.time() - self.began, 3)
        self.counts.update(counts)

    def commit(self, unit: int) -> None:
        """Check a unit, publish its files and write its marker; the first attempt wins."""
        if self.rank != 0:
            return
        self.check_lease()
        folder = self.folder(unit)
        facts = self.stage.check(unit, folder)
        facts.verify()
        # The check takes minutes, in which another attempt may have replaced this one.
        self.check_lease()
        published = self.artifact.unit_folder(unit)
        if not claim_folder(folder, published):
            facts = self.take_over(unit, facts)
        sizes = list_file_sizes(published)
        marker = UnitMarker(
            unit=unit,
            **facts.as_dict(),
            seconds=round(time.monotonic() - self.unit_began, 3),
            attempt=self.attempt,
            host=socket.gethostname(),
            files=sizes,
            sha256=compute_file_digests(published, sizes),
            versions=loaded_versions(),
            **recorded_code().model_dump(),
        )
        self.artifact.write_marker(marker)
        if self.stage.work_stealing:
            self.artifact.claim_file(unit).unlink(missing_ok=True)
        with self._counting:
            self.unit_began = time.monotonic()
            self.units_done += 1

    def take_over(self, unit: int, own: UnitCounts) -> UnitCounts:
        """Counts of a unit that is already published, while this attempt has made it, too.

        An earlier attempt published it and ended before its marker. Its files are used if they
        pass the check; otherwise, e.g. if files were lost, those of this attempt replace them.
        """
        published = self.artifact.unit_folder(unit)
        try:
            facts = self.stage.check(unit, published)
            facts.verify()
        except Exception:
            if self.artifact.marker(unit) is not None:
                raise
            remove_folder(self.artifact, published)
            if not claim_folder(self.folder(unit), published):
                raise
            return own
        return facts

    def check_lease(self) -> None:
        """Check that no newer attempt of this worker and no newer round of the node has started.

        The round is checked as well: if it has fewer workers, no attempt takes this lease.

        Raises: LeaseLost if one has started.
        """
        lease = self.artifact.worker_lease(self.worker)
        holder = lease.attempt if lease else None
        if holder != self.attempt:
            raise LeaseLost(f"the lease of worker {self.worker} went to {holder}")
        newest = self.artifact.last_round()
        if newest != self.round:
            raise LeaseLost(f"round {self.round} is over: round {newest} has started")

    def write_progress(self, ended: bool = False) -> None:
        """Write the progress record of this rank."""
        progress = Progress(
            worker=self.worker,
            rank=self.rank,
            attempt=self.attempt,
            host=socket.gethostname(),
            pid=os.getpid(),
            began=self.began,
            time=time.time(),
            ended=ended,
            units_done=self.units_done,
            stopping=self.stop_requested,
            loaded_s=self.loaded_s,
            **self.counts,
        )
        progress.write(self.artifact.progress_file(self.worker, self.rank))

    def write_heartbeats(self) -> None:
        """Write the progress record once a second until the end."""
        while not self._ended.wait(1.0):
            # E.g. on a full disk: the working thread gets the same error and reports it.
            with contextlib.suppress(OSError):
                self.write_progress()

    def watch_supervisor(self, descriptor: int) -> None:
        """Wait for the supervisor: a byte requests a stop; its end ends this process at once."""
        while os.read(descriptor, 1):
            self._stop.set()
        os._exit(RETRY)

    def read_new_log(self) -> str:
        """The end of what was written to this rank's log since the last call."""
        log = self.artifact.log_file(self.worker, self.rank)
        if not log.exists():
            return ""
        size, first = log.stat().st_size, self.log_read
        self.log_read = size
        with log.open("rb") as file:
            file.seek(max(first, size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")

    def abort(self, error: TransientError) -> NoReturn:
        """End this process at once, from any thread, so that another attempt resumes."""
        facts = failure_facts(error)
        report = ErrorReport(code=RETRY, mistakes=(str(error),), facts=facts)
        record_error_report(self.artifact, self.attempt, report)
        os._exit(RETRY)

    def start(self) -> None:
        """Start the threads that watch the supervisor and write the progress."""
        descriptor = os.environ.get("HALA_STOP_FD")
        if descriptor:
            threading.Thread(
                target=self.watch_supervisor, args=(int(descriptor),), daemon=True
            ).start()
        self.write_progress()
        threading.Thread(target=self.write_heartbeats, daemon=True).start()

    def finish(self) -> None:
        """Write the final progress record and remove unpublished files."""
        self._ended.set()
        # First, as it frees space for the progress record on a full disk.
        if self.rank == 0:
            shutil.rmtree(self.artifact.attempt_folder(self.attempt), ignore_errors=True)
        with contextlib.suppress(OSError):
            self.write_progress(ended=True)


def recorded_code() -> CodeVersion:
    """Code version recorded by the supervisor of this attempt; empty without a supervisor."""
    text = os.environ.get(CODE_VARIABLE, "")
    return CodeVersion.from_json(text, CODE_VARIABLE) if text else CodeVersion()


def record_error_report(artifact: Artifact, attempt: str, report: ErrorReport) -> None:
    """Log why this attempt ends, and write the error report for its supervisor."""
    for mistake in report.mistakes:
        logger.error("%s", mistake)
    rank = int(os.environ.get("RANK", "0"))
    # Without fsync: a hung file system must not keep the process from exiting.
    artifact.error_file(attempt, rank).write_text(report.to_json(), encoding="utf-8")
