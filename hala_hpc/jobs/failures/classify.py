"""Classify how an attempt ended: by its record, by what SLURM says, and by the end of its log."""

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

#: In the log of a process whose GPU, and not its program, is to blame: messages of CUDA and vLLM.
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
#: Of a node's set-up, which is that of its neighbours: messages of torch, CUDA, Triton and gcc. A
#: job that looks at its node (`check_gpus`) is told before, with the cure.
SET_UP_PATTERNS = (
    "The NVIDIA driver on your system is too old",
    "CUDA driver version is insufficient for CUDA runtime version",
    "no kernel image is available for execution on the device",
    "Failed to find C compiler",
    "fatal error: Python.h: No such file or directory",
)
#: Classes that a job knows for certain. An engine that ends and a rank that is lost may only follow
#: from a signal or from a kill, of which others know.
CERTAIN = (
    FailureClass.NODE_FAILURE,
    FailureClass.HOST_OOM,
    FailureClass.GPU_OOM,
    FailureClass.EARLY,
)
#: The warning of the end of a job's time comes earlier than asked for: by up to half a minute of
#: SLURM's (it looks twice a minute), and by what the job took before the attempt began, in seconds.
EARLY_S = 120
#: Letters of a reason that are kept.
TEXT_LENGTH = 400

#: A class with the text for people.
Classification = tuple[FailureClass, str]


@dataclass(frozen=True)
class Evidence:
    """What is known of the end of one rank of an attempt, or of a job that left no record."""

    attempt: str = ""
    worker: int | None = None
    nodes: tuple[str, ...] = ()
    code: int | None = None
    """The exit code that the worker wrote down; None where it wrote nothing."""
    reasons: tuple[str, ...] = ()
    kind: FailureClass | None = None
    """The class that the exception carried; None if unknown."""
    signature: str = ""
    """Of the traceback; see `signature_of`."""
    is_kernel_kill: bool = False
    """Whether the kernel killed something for its memory."""
    is_stopped: bool = False
    """Whether a signal asked it to leave."""
    seconds: float = 0.0
    loading_s: float | None = None
    """Of these, those until libraries and models were loaded; None if unknown."""
    time_limit_s: float | None = None
    warning_s: float = SIGNAL_DELAY_S
    """How long before its limit the job asks to be told."""
    scheduler_kind: FailureClass | JobEnd | None = None
    """How the scheduler saw it end; None if unknown."""
    scheduler_message: str = ""
    ended_before_us: bool = False
    """Whether it left with a code of its own, and no code of ours has begun in any job."""
    log_tail: str = ""

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)


def classify(evidence: Evidence) -> Failure | None:
    """The failure that the evidence shows; None where there was none."""
    if evidence.code == OK or (
        evidence.code is None and evidence.scheduler_kind is JobEnd.COMPLETED
    ):
        return None
    # The surest witness first; the log is only read for what nobody else knows.
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
    """What the job knew for certain when it ended."""
    if evidence.kind not in CERTAIN:
        return None
    return evidence.kind, evidence.reason


def classify_system(evidence: Evidence) -> Classification | None:
    """What kernel and scheduler do to jobs that did nothing wrong by their own account."""
    if evidence.is_kernel_kill or evidence.scheduler_kind is FailureClass.HOST_OOM:
        return FailureClass.HOST_OOM, evidence.reason or evidence.scheduler_message
    for kind in (FailureClass.NODE_FAILURE, FailureClass.CANCELLED):
        if evidence.scheduler_kind is kind:
            return kind, evidence.scheduler_message
    return None


def classify_start(evidence: Evidence) -> Classification | None:
    """A job that ended before any code of ours began: its set-up fails wherever it runs."""
    if not evidence.ended_before_us:
        return None
    text = f"the job ended before any code of ours began: {evidence.scheduler_message}"
    return FailureClass.CONFIG_ERROR, "; ".join(part for part in (text, evidence.reason) if part)


def classify_error(evidence: Evidence) -> Classification | None:
    """An error of the job's own, by its exit code."""
    if evidence.code in (None, RETRY):
        return None
    if evidence.code == BAD_DATA:
        return FailureClass.BAD_DATA, evidence.reason
    if evidence.code != INTERNAL:
        return FailureClass.CONFIG_ERROR, evidence.reason
    kind = class_of_log(f"{evidence.reason}\n{evidence.log_tail}")
    return kind or evidence.kind or FailureClass.EXCEPTION, evidence.reason


def classify_engine(evidence: Evidence) -> Classification | None:
    """An engine that ended before the job was told to leave."""
    if evidence.kind is not FailureClass.ENGINE or evidence.is_stopped:
        return None
    return class_of_log(evidence.log_tail) or FailureClass.ENGINE, evidence.reason


def classify_scheduler(evidence: Evidence) -> Classification | None:
    """The scheduler took the job away, as it says or as its signal shows."""
    if evidence.scheduler_kind is FailureClass.PREEMPTED:
        return FailureClass.PREEMPTED, evidence.reason or evidence.scheduler_message
    was_warned = evidence.is_stopped and is_late(evidence)
    if was_warned or evidence.scheduler_kind is FailureClass.TIMEOUT:
        return FailureClass.TIMEOUT, describe_timeout(evidence)
    return (FailureClass.PREEMPTED, evidence.reason) if evidence.is_stopped else None


def classify_log(evidence: Evidence) -> Classification:
    """What is left: what follows from another failure, a death by signal, or no record at all."""
    if evidence.code is not None:
        if evidence.kind is FailureClass.SECONDARY:
            return FailureClass.SECONDARY, evidence.reason
        return class_of_log(evidence.log_tail) or FailureClass.KILLED, evidence.reason
    message = evidence.scheduler_message
    kind = FailureClass.KILLED if message else FailureClass.NO_REPORT
    return (
        class_of_log(evidence.log_tail) or kind,
        f"it left no word{f'; the scheduler says {message}' if message else ''}",
    )


def class_of_log(text: str) -> FailureClass | None:
    """A set-up that is not fit, a bad node, or a GPU whose memory was too small, by the messages of
    libraries.
    """
    if any(pattern in text for pattern in SET_UP_PATTERNS):
        return FailureClass.CONFIG_ERROR
    if any(pattern in text for pattern in NODE_PATTERNS):
        return FailureClass.NODE_FAILURE
    if any(pattern in text for pattern in TORCH_PHRASES + ALLOCATOR_PHRASES):
        return FailureClass.GPU_OOM
    return None


def is_late(evidence: Evidence) -> bool:
    """Whether so little of the job's time was left that a signal was the warning of its end."""
    limit = evidence.time_limit_s
    return limit is not None and limit - evidence.seconds <= evidence.warning_s + EARLY_S


def describe_timeout(evidence: Evidence) -> str:
    """Which time was up, how much of it the attempt had, and what loading took of that."""
    message = "its time was up"
    if evidence.time_limit_s:
        message += f": timeout_min={evidence.time_limit_s / 60:g}"
    if not evidence.is_stopped:
        return f"{message}; {evidence.reason or evidence.scheduler_message}"
    message += f", and jobs are told {evidence.warning_s:.0f} s before that to save what they have"
    had = f"this one had {evidence.seconds:.0f} s"
    if evidence.loading_s is None:
        return f"{message}; {had}, and no row or step was counted as done in them"
    return f"{message}; {had}, and loading took {evidence.loading_s:.0f} s of them"


def failure_facts(error: BaseException) -> FailureFacts:
    """The class and the traceback of an exception, for the record of the attempt."""
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
    """The type of an error and the last frame of ours in its traceback.

    `ZeroDivisionError in hala_hpc/demo/stages/tiny.py, line 70, run`: the same for the same defect,
    whatever the values are. Where code of a lab's own runs, as its stage or its engine, the last
    frame of that counts: what it calls of ours is the same for all of its defects.
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
    """The name of a file, from its package on, and whether it is a lab's own; "": neither is."""
    if theirs := foreign_name(file):
        return theirs, True
    home = Path(hala_hpc.__file__).parent
    is_ours = home in Path(file).parents
    return (str(Path(file).relative_to(home.parent)) if is_ours else ""), False
