"""A worker: the small supervisor that runs the model code as its child.

It owns signals, the log, the lease and the exit code. By hand:
`python -m hala_hpc.worker <artifact> 3`.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

from hala_hpc.backends.slurm.backend import task_environment
from hala_hpc.backends.slurm.node_states import exclude_node_for_pending
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.cgroup_memory import explain_child_exit, has_oom_kill, read_memory_record
from hala_hpc.core.code_version import CodeVersion, running_code
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.environment import CODE_VARIABLE
from hala_hpc.core.errors import INTERNAL, NO_INPUT, OK, RETRY, FailureClass, UserError
from hala_hpc.core.job_records import AttemptRecord, ErrorReport, WorkerLease
from hala_hpc.core.process_tree import signal_on_parent_exit
from hala_hpc.core.startup import set_private_umask
from hala_hpc.engines.models.node_local import copies_root, remove_unused_copies
from hala_hpc.jobs.attempt_records import AttemptName
from hala_hpc.jobs.job_logging import set_up_logging
from hala_hpc.jobs.log_file import format_log_head

#: Named explicitly, as this file runs as a program.
logger = logging.getLogger("hala_hpc.worker")

#: How long a child may take to commit after it was asked to stop, in seconds.
GRACE_S = 600
#: How long a preempted worker waits for the scheduler to end and requeue it, in seconds.
REQUEUE_WAIT_S = 180
#: How much later than another rank's the scheduler's signal may arrive here, in seconds.
LATE_SIGNAL_S = 4


class Supervisor:
    """Runs one attempt of a worker on one rank."""

    def __init__(self, artifact: Artifact, worker: int) -> None:
        self.artifact, self.worker = artifact, worker
        task = task_environment()
        self.is_scheduled = bool(task)
        self.environment = dict(os.environ) | task
        self.rank = int(self.environment.get("RANK", "0"))
        self.job = self.environment.get("HALA_JOB_ID") or uuid4().hex[:12]
        restarts = int(self.environment.get("HALA_RESTARTS", "0"))
        self.name = AttemptName(artifact.last_round(), worker, self.job, restarts)
        self.attempt = str(self.name)
        self.signal: int | None = None
        self.kill_reason = ""
        self.code = CodeVersion()
        self.is_kernel_kill = False
        self.began = time.time()
        self.read_end, self.write_end = os.pipe()

    def forward_signal(self, number: int, _frame: object) -> None:
        """Pass the signal on through the pipe to the child; `run` decides what to do about it."""
        self.signal = number
        os.write(self.write_end, b"s")

    def run(self) -> int:
        """Run the child to its end and return the exit code."""
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
            signal.signal(number, self.forward_signal)
        if self.rank == 0:
            WorkerLease(attempt=self.attempt, round=self.name.round).write(
                self.artifact.lease_file(self.worker)
            )
            self.code = self.check_code()
            self.environment[CODE_VARIABLE] = self.code.line()
        memory = read_memory_record()
        status = self.run_child()
        code, after = explain(status), read_memory_record()
        self.kill_reason = explain_child_exit(status, memory, after) if code != OK else ""
        self.is_kernel_kill = code != OK and has_oom_kill(memory, after)
        if code not in (OK, RETRY) and self.signal is not None:
            code = RETRY
        self.write_end_of_attempt(code)
        if code == RETRY and self.is_scheduled:
            self.exclude_bad_node()
            # The ranks stop together, perhaps before the signal that stopped them came here too.
            self.wait_for_signal()
        if code == RETRY and self.signal == signal.SIGTERM and self.is_scheduled:
            # A job that exits by itself is not requeued: wait for the scheduler's kill.
            time.sleep(REQUEUE_WAIT_S)
        return code

    def check_code(self) -> CodeVersion:
        """The code that this attempt runs; warns if it is not that of the launch."""
        newest = self.artifact.newest_round_if_valid()
        launched = newest.spec if newest else CodeVersion()
        code = running_code(launched)
        if launched.code_digest and code.code_digest != launched.code_digest:
            logger.warning(
                "the code has changed since the launch: %s runs instead of %s",
                code.code_description,
                launched.code_description,
            )
        return code

    def exclude_bad_node(self) -> None:
        """If this node was found bad, exclude it for the pending tasks of this array."""
        report = self.artifact.error_report(self.attempt, self.rank)
        node = self.environment.get("HALA_NODE", "")
        if report and report.facts.kind is FailureClass.NODE_FAILURE and node in report.facts.nodes:
            exclude_node_for_pending(self.job, node)

    def wait_for_signal(self) -> None:
        """Wait a few seconds for a signal, unless there was one."""
        deadline = time.monotonic() + LATE_SIGNAL_S
        while self.signal is None and time.monotonic() < deadline:
            time.sleep(0.1)

    def run_child(self) -> int:
        """Start the model code with its output in the log, and wait for its end."""
        log = self.artifact.log_file(self.worker, self.rank)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "hala_hpc.jobs.attempt",
            str(self.artifact.folder),
            str(self.worker),
            self.attempt,
        ]
        with log.open("ab", buffering=0) as stream:
            stream.write(format_log_head(self.attempt))
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=self.environment | {"HALA_STOP_FD": str(self.read_end)},
                pass_fds=(self.read_end,),
                start_new_session=True,
                # A signal that the scheduler sends to every process is not for the model code.
                preexec_fn=partial(detach_signals, os.getpid()),  # noqa: PLW1509 - one thread
            )
        try:
            return self.wait_for(child)
        finally:
            end_group(child.pid)
            self.remove_copies()

    def remove_copies(self) -> None:
        """Remove copies of models that a killed child left on this node's disk."""
        try:
            newest = self.artifact.require_newest_round()
        except UserError:
            # The child has reported it: here it only means that nothing can be removed.
            return
        if newest.spec.resources.local_weights_dir:
            remove_unused_copies(copies_root(newest.spec.resources.local_weights_dir))

    def wait_for(self, child: subprocess.Popen[bytes]) -> int:
        """Exit status of the child; after a signal its time is limited."""
        deadline: float | None = None
        while True:
            try:
                return child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                if self.signal is not None and deadline is None:
                    deadline = time.monotonic() + GRACE_S
                    # Now, as the scheduler may kill before the child is done.
                    self.write_end_of_attempt(RETRY)
                if deadline is not None and time.monotonic() > deadline:
                    end_group(child.pid)

    def loading_s(self) -> float | None:
        """Seconds until libraries and models were loaded, as the child reports; None if unknown."""
        progress = self.artifact.rank_progress(self.worker, self.rank)
        if progress is None or progress.attempt != self.attempt or progress.loaded_s is None:
            return None
        return round(progress.began + progress.loaded_s - self.began, 3)

    def write_end_of_attempt(self, code: int) -> None:
        """Record how the attempt ended, for the gate and for people."""
        error = self.artifact.error_report(self.attempt, self.rank) or ErrorReport(code=code)
        # The kill comes first: the rest only follows from it.
        reasons = tuple(reason for reason in (self.kill_reason, *error.mistakes) if reason)
        if code == RETRY and self.signal is not None:
            reasons = (f"stopped by {signal.Signals(self.signal).name}",)
        record = AttemptRecord(
            round=self.artifact.last_round(),
            worker=self.worker,
            rank=self.rank,
            job=self.job,
            host=socket.gethostname(),
            node=self.environment.get("HALA_NODE", socket.gethostname()),
            code=code,
            reasons=reasons,
            began=self.began,
            seconds=round(time.time() - self.began, 3),
            loading_s=self.loading_s(),
            stopped=self.signal is not None,
            kernel_kill=self.is_kernel_kill,
            kind=error.facts.kind,
            nodes=error.facts.nodes,
            signature=error.facts.signature,
            gpu_seconds=error.facts.gpu_seconds,
            **self.code.model_dump(),
        )
        record.write(self.artifact.attempt_file(self.name.record_name(self.rank)))


def detach_signals(supervisor: int) -> None:
    """Leave the scheduler's signals to the supervisor, and do not outlive it."""
    signal_on_parent_exit(signal.SIGKILL, supervisor)
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def end_group(pid: int) -> None:
    """Kill what is left of the child's process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def explain(status: int) -> int:
    """Exit code for a child's status: a death by signal may be retried."""
    if status < 0:
        return RETRY
    return INTERNAL if status == 1 else status


def work(artifact: str, worker: int) -> None:
    """Run a worker and exit with its code. Called in every rank of a job."""
    folder = Path(artifact)
    set_up_logging()
    if not Artifact(folder).config_file.exists():
        logger.error("%s is no artifact: config.json is missing", artifact)
        os._exit(NO_INPUT)
    set_private_umask()
    round_number = os.environ.get("HALA_ROUND", "")
    try:
        if round_number and int(round_number) != Artifact(folder).last_round():
            logger.warning("round %s of %s is over: nothing to do", round_number, folder.name)
            os._exit(OK)
        supervisor = Supervisor(Artifact(folder), worker)
        node = supervisor.environment.get("HALA_NODE", "")
        set_up_logging(supervisor.attempt, supervisor.rank, node)
        code = supervisor.run()
    except UserError as error:
        logger.error("%s", error)
        code = error.code
    except OSError as error:
        mistake = convert_os_error(error)
        logger.error("%s", mistake)
        code = mistake.code
    sys.stdout.flush()
    sys.stderr.flush()
    # os._exit: no result travels back through the scheduler's client, the markers are the result.
    os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        sys.exit("usage: python -m hala_hpc.worker <artifact> <worker number>")
    work(sys.argv[1], int(sys.argv[2]))
