"""Classify how an attempt ended, by its record, SLURM's state, and the end of its log."""

import traceback
from dataclasses import dataclass
from pathlib import Path

import hala_hpc
from hala_hpc.backends.slurm.sacct import JobEnd
from hala_hpc.backends.slurm.sbatch import SIGNAL_DELAY_S
from hala_hpc.core.errors import (
    BAD_DATA,
    INTERNAL,
    OK,
    RETRY,
    EarlyStop,
    FailureClass,
    InputNotFinished,
    TransientError,
)
from hala_hpc.core.foreign_code import foreign_name
from hala_hpc.core.job_records import Failure, FailureFacts
from hala_hpc.core.out_of_memory import ALLOCATOR_PHRASES, TORCH_PHRASES, is_gpu_out_of_memory
from hala_hpc.jobs.failures.policy import POLICY

#: Messages of CUDA and vLLM in the log if the GPU, and not the program, is at fault.
NODE_PATTERNS = (
    "uncorrectable ECC error",
    "GPU has fallen off the bus",
    "CUDA-capable device(s) is/are busy or unavailable",
    "no CUDA-capable device is detected",
    "Driver/library version mismatch",
    "CUDA error: system not yet initialized",
    "CUDA driver initialization failed",
    "is less than desired GPU memory utilization",
)
#: Messages of torch, CUDA, Triton and gcc if the set-up, which all nodes share, is at fault. With
#: `check_gpus` a job detects this before, with the fix.
SET_UP_PATTERNS = (
    "The NVIDIA driver on your system is too old",
    "CUDA driver version is insufficient for CUDA runtime version",
    "no kernel image is available for execution on the device",
    "Failed to find C compiler",
    "fatal error: Python.h: No such file or directory",
)
#: Classes that a job knows for certain. The end of an engine or the loss of a rank may follow from
#: a signal or a kill, which other evidence shows.
CERTAIN = (
    FailureClass.NODE_FAILURE,
    FailureClass.HOST_OOM,
    FailureClass.GPU_OOM,
    FailureClass.EARLY,
)
#: Seconds by which the signal before the time limit may come early: up to 30 s, as SLURM checks
#: twice a minute, and the time that the job took before the attempt started.
EARLY_S = 120
#: Maximum length of a recorded reason.
TEXT_LENGTH = 400

#: A class with its text for users.
Classification = tuple[FailureClass, str]


@dataclass(frozen=True)
class Evidence:
    """Evidence of the end of one rank of an attempt, or of a job that left no record."""

    attempt: str = ""
    worker: int | None = None
    nodes: tuple[str, ...] = ()
    code: int | None = None
    """Exit code in the record of the worker; None if there is no record."""
    reasons: tuple[str, ...] = ()
    kind: FailureClass | None = None
    """Class of the exception; None if unknown."""
    signature: str = ""
    """Signature of the traceback; see `signature_of`."""
    is_kernel_kill: bool = False
    """Whether the kernel's OOM killer killed a process."""
    is_stopped: bool = False
    """Whether a signal asked it to stop."""
    seconds: float = 0.0
    """Run time of the attempt."""
    loading_s: float | None = None
    """Part of `seconds` until libraries and models were loaded; None if unknown."""
    time_limit_s: float | None = None
    warning_s: float = SIGNAL_DELAY_S
    """Seconds before the time limit at which SLURM sends the signal."""
    scheduler_kind: FailureClass | JobEnd | None = None
    """How it ended according to SLURM; None if unknown."""
    scheduler_message: str = ""
    ended_before_us: bool = False
    """Whether it ended with its own exit code before our code started in any job."""
    log_tail: str = ""

    @property
    def reason(self) -> str:
        """All reasons, in one line."""
        return "; ".join(self.reasons)


def classify(evidence: Evidence) -> Failure | None:
    """Classify the evidence; None if it shows no failure."""
    if evidence.code == OK or (
        evidence.code is None and evidence.scheduler_kind is JobEnd.COMPLETED
    ):
        return None
    # In order of certainty; the log is only searched if nothing else is known.
    kind, text = (
        classify_certain(evidence)
        or classify_system(evidence)
        or classify_start(evidence)
        or classify_error(evidence)
        or classify_engine(evidence)
        or classify_scheduler(evidence)
        or classify_log(evidence)
    )
    return Failure(
        kind=kind,
        text=" ".join(text.split())[:TEXT_LENGTH] or POLICY[kind].meaning,
        attempt=evidence.attempt,
        worker=evidence.worker,
        nodes=evidence.nodes,
        signature=evidence.signature if kind is FailureClass.EXCEPTION else "",
        confirmed_by_scheduler=kind is evidence.scheduler_kind,
    )


def classify_certain(evidence: Evidence) -> Classification | None:
    """Classes that the job itself knew for certain."""
    if evidence.kind not in CERTAIN:
        return None
    return evidence.kind, evidence.reason


def classify_system(evidence: Evidence) -> Classification | None:
    """Out of host memory, node failure or cancellation, as the kernel or SLURM reports."""
    if evidence.is_kernel_kill or evidence.scheduler_kind is FailureClass.HOST_OOM:
        return FailureClass.HOST_OOM, evidence.reason or evidence.scheduler_message
    for kind in (FailureClass.NODE_FAILURE, FailureClass.CANCELLED):
        if evidence.scheduler_kind is kind:
            return kind, evidence.scheduler_message
    return None


def classify_start(evidence: Evidence) -> Classification | None:
    """A job that ended before our code started: its set-up fails on any node."""
    if not evidence.ended_before_us:
        return None
    text = f"the job ended before our code started: {evidence.scheduler_message}"
    return FailureClass.CONFIG_ERROR, "; ".join(part for part in (text, evidence.reason) if part)


def classify_error(evidence: Evidence) -> Classification | None:
    """An error of the job itself, by its exit code."""
    if evidence.code in (None, RETRY):
        return None
    if evidence.code == BAD_DATA:
        return FailureClass.BAD_DATA, evidence.reason
    if evidence.code != INTERNAL:
        return FailureClass.CONFIG_ERROR, evidence.reason
    kind = class_of_log(f"{evidence.reason}\n{evidence.log_tail}")
    return kind or evidence.kind or FailureClass.EXCEPTION, evidence.reason


def classify_engine(evidence: Evidence) -> Classification | None:
    """An engine that ended before the job was asked to stop."""
    if evidence.kind is not FailureClass.ENGINE or evidence.is_stopped:
        return None
    return class_of_log(evidence.log_tail) or FailureClass.ENGINE, evidence.reason


def classify_scheduler(evidence: Evidence) -> Classification | None:
    """Preemption or timeout, by SLURM's state or by its signal."""
    if evidence.scheduler_kind is FailureClass.PREEMPTED:
        return FailureClass.PREEMPTED, evidence.reason or evidence.scheduler_message
    was_warned = evidence.is_stopped and is_late(evidence)
    if was_warned or evidence.scheduler_kind is FailureClass.TIMEOUT:
        return FailureClass.TIMEOUT, describe_timeout(evidence)
    return (FailureClass.PREEMPTED, evidence.reason) if evidence.is_stopped else None


def classify_log(evidence: Evidence) -> Classification:
    """The remaining cases: a secondary failure, a kill by signal, or no record."""
    if evidence.code is not None:
        if evidence.kind is FailureClass.SECONDARY:
            return FailureClass.SECONDARY, evidence.reason
        return class_of_log(evidence.log_tail) or FailureClass.KILLED, evidence.reason
    message = evidence.scheduler_message
    kind = FailureClass.KILLED if message else FailureClass.NO_REPORT
    return (
        class_of_log(evidence.log_tail) or kind,
        f"it left no record{f'; SLURM reports {message}' if message else ''}",
    )


def class_of_log(text: str) -> FailureClass | None:
    """Bad set-up, bad node or GPU out of memory, by messages of libraries, or None."""
    if any(pattern in text for pattern in SET_UP_PATTERNS):
        return FailureClass.CONFIG_ERROR
    if any(pattern in text for pattern in NODE_PATTERNS):
        return FailureClass.NODE_FAILURE
    if any(pattern in text for pattern in TORCH_PHRASES + ALLOCATOR_PHRASES):
        return FailureClass.GPU_OOM
    return None


def is_late(evidence: Evidence) -> bool:
    """Whether a signal came so near the time limit that it was the signal before the limit."""
    limit = evidence.time_limit_s
    return limit is not None and limit - evidence.seconds <= evidence.warning_s + EARLY_S


def describe_timeout(evidence: Evidence) -> str:
    """Describe a timeout: the limit, the run time of the attempt, and the time for loading."""
    message = "time limit reached"
    if evidence.time_limit_s:
        message += f": timeout_min={evidence.time_limit_s / 60:g}"
    if not evidence.is_stopped:
        return f"{message}; {evidence.reason or evidence.scheduler_message}"
    message += f", and jobs get a signal {evidence.warning_s:.0f} s before that to save their work"
    had = f"this one ran {evidence.seconds:.0f} s"
    if evidence.loading_s is None:
        return f"{message}; {had}, and no row or step was done in them"
    return f"{message}; {had}, and loading took {evidence.loading_s:.0f} s of them"


def failure_facts(error: BaseException) -> FailureFacts:
    """Convert an exception into the failure facts of the attempt record."""
    kind, nodes = (error.kind, error.nodes) if isinstance(error, TransientError) else (None, ())
    if isinstance(error, InputNotFinished):
        kind = error.kind
    if isinstance(error, MemoryError):
        kind = FailureClass.HOST_OOM
    if is_gpu_out_of_memory(error, ""):
        kind = FailureClass.GPU_OOM
    spent = error.gpu_seconds if isinstance(error, EarlyStop) else None
    return FailureFacts(kind=kind, nodes=nodes, signature=signature_of(error), gpu_seconds=spent)


def signature_of(error: BaseException) -> str:
    """The type of an error and the last frame of this package in its traceback.

    `ZeroDivisionError in hala_hpc/demo/stages/tiny.py, line 70, run`: equal for the same defect,
    independent of values. If a lab's own stage or engine is in the traceback, its last frame is
    used: the frames of this package that it calls are the same for all of its defects.
    """
    named = [
        (name, is_theirs, frame)
        for frame in traceback.extract_tb(error.__traceback__)
        for name, is_theirs in [name_of_file(frame.filename)]
        if name
    ]
    if not named:
        return type(error).__name__
    theirs = [one for one in named if one[1]]
    name, _, last = (theirs or named)[-1]
    return f"{type(error).__name__} in {name}, line {last.lineno}, {last.name}"


def name_of_file(file: str) -> tuple[str, bool]:
    """Path of a source file from its package on, and whether it is a lab's own; "" for others."""
    if theirs := foreign_name(file):
        return theirs, True
    home = Path(hala_hpc.__file__).parent
    is_ours = home in Path(file).parents
    return (str(Path(file).relative_to(home.parent)) if is_ours else ""), False
