"""What a job tells the world: files, marks, progress, and how it ended."""

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

#: What is looked at of a worker's log to tell why an engine died.
LOG_TAIL_BYTES = 262_144
#: Counts that grow with the work, and above what they show that work is done: tokens are those of
#: this attempt; the first count of rows and steps may hold what an earlier one has done.
COUNTED = {"tokens": 0.0, "rows": math.inf, "step": math.inf}


class JobContext:
    """Where the results of this attempt go; see `core.stage.Out`."""

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
        """Whether the supervisor asked to leave."""
        return self._stop.is_set()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the scheduler ends the job; None where nobody knows, and beside rank 0."""
        return None if self._job_end is None else self._job_end - time.time()

    @functools.cached_property
    def _job_end(self) -> float | None:
        # Asked once, by one rank, and only where somebody wants to know: it is a load on SLURM.
        return query_job_end() if self.rank == 0 else None

    def folder(self, unit: int) -> Path:
        """Private folder of this attempt for the files of a unit."""
        folder = self.artifact.attempt_folder(self.attempt) / f"{unit:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def state_dir(self, unit: int) -> Path:
        """Folder of a unit that outlives the attempt."""
        folder = self.artifact.state_dir(unit)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def report_progress(self, **counts: float) -> None:
        """Set counts that people watch.

        Once one of them grows, libraries and models are loaded.
        """
        if self.loaded_s is None and any(
            counts.get(name, 0) > self.counts.get(name, first) for name, first in COUNTED.items()
        ):
            self.loaded_s = round(time.time() - self.began, 3)
        self.counts.update(counts)

    def commit(self, unit: int) -> None:
        """Check, publish and mark a unit; the first attempt to do so wins."""
        if self.rank != 0:
            return
        self.check_lease()
        folder = self.folder(unit)
        facts = self.stage.check(unit, folder)
        facts.verify()
        # Reading back takes minutes, in which this attempt may have been taken for dead.
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
        """What counts of a unit whose place is taken, while this attempt has made it as well.

        An attempt before this one published it and was ended before its marker: that is kept where
        it is good. Where it is not, as files were lost since, this attempt's own takes its place.
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
        """Leave when a newer attempt of the same worker has begun, or a newer round of the node.

        The next round may have fewer workers: then nobody takes the lease of this one.
        """
        lease = self.artifact.worker_lease(self.worker)
        holder = lease.attempt if lease else None
        if holder != self.attempt:
            raise LeaseLost(f"the lease of worker {self.worker} went to {holder}")
        newest = self.artifact.last_round()
        if newest != self.round:
            raise LeaseLost(f"round {self.round} is over: round {newest} has begun")

    def write_progress(self, ended: bool = False) -> None:
        """Tell those who watch how far this rank is."""
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
        """Write the progress once a second until the end."""
        while not self._ended.wait(1.0):
            # On a full disk, say: who does the work meets it, too, and tells.
            with contextlib.suppress(OSError):
                self.write_progress()

    def watch_supervisor(self, descriptor: int) -> None:
        """A byte from the supervisor asks to stop; its death ends this process at once."""
        while os.read(descriptor, 1):
            self._stop.set()
        os._exit(RETRY)

    def read_new_log(self) -> str:
        """The end of what was written to this rank's log since this was last asked."""
        log = self.artifact.log_file(self.worker, self.rank)
        if not log.exists():
            return ""
        size, first = log.stat().st_size, self.log_read
        self.log_read = size
        with log.open("rb") as file:
            file.seek(max(first, size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")

    def abort(self, error: TransientError) -> NoReturn:
        """End this process at once, from any thread, so that another attempt goes on."""
        facts = failure_facts(error)
        report = ErrorReport(code=RETRY, mistakes=(str(error),), facts=facts)
        record_error_report(self.artifact, self.attempt, report)
        os._exit(RETRY)

    def start(self) -> None:
        """Begin to listen to the supervisor and to give signs of life."""
        descriptor = os.environ.get("HALA_STOP_FD")
        if descriptor:
            threading.Thread(
                target=self.watch_supervisor, args=(int(descriptor),), daemon=True
            ).start()
        self.write_progress()
        threading.Thread(target=self.write_heartbeats, daemon=True).start()

    def finish(self) -> None:
        """Say the last word and remove what was not published."""
        self._ended.set()
        # First, as it makes room for the last word where the disk is full.
        if self.rank == 0:
            shutil.rmtree(self.artifact.attempt_folder(self.attempt), ignore_errors=True)
        with contextlib.suppress(OSError):
            self.write_progress(ended=True)


def recorded_code() -> CodeVersion:
    """The code that runs, as the supervisor of this attempt has noted it; empty without one."""
    text = os.environ.get(CODE_VARIABLE, "")
    return CodeVersion.from_json(text, CODE_VARIABLE) if text else CodeVersion()


def record_error_report(artifact: Artifact, attempt: str, report: ErrorReport) -> None:
    """Tell the supervisor, and people who read the log, why this attempt ends."""
    for mistake in report.mistakes:
        logger.error("%s", mistake)
    rank = int(os.environ.get("RANK", "0"))
    # Not brought to the disk: a hung file system must not keep the process from its end.
    artifact.error_file(attempt, rank).write_text(report.to_json(), encoding="utf-8")
