"""What kind of failure ended an attempt: from its own words, SLURM's word, and its log's end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.core.errors import BAD_DATA, INTERNAL, OK, RETRY
from hala_hpc.engines.engine_errors import OTHER_WORDS, TORCH_WORDS

PREEMPTED, WALLTIME, NODE, HOST_MEMORY = "preempted", "walltime", "node", "host_memory"
GPU_MEMORY, ENGINE, DATA, BUG = "gpu_memory", "engine", "data", "bug"
#: Beside the eight that a cluster and a program know: a mistake in recipe or set-up, a job that
#: somebody ended, a death by signal for no known reason, an end without any word, and what only
#: follows from the failure of another rank or attempt.
SET_UP, CANCELLED, KILLED, LOST, FOLLOWS = "set_up", "cancelled", "killed", "lost", "follows"
MEANING = {
    PREEMPTED: "preempted",
    WALLTIME: "out of its time",
    NODE: "a bad node",
    HOST_MEMORY: "out of the host's memory",
    GPU_MEMORY: "out of the GPU's memory",
    ENGINE: "the engine died or hung",
    DATA: "bad data",
    BUG: "a defect",
    SET_UP: "a mistake in recipe or set-up",
    CANCELLED: "cancelled",
    KILLED: "killed",
    LOST: "no word was left",
    FOLLOWS: "another rank or attempt failed",
}
#: In the log of a process whose GPU, and not its program, is to blame: CUDA's and vLLM's words.
NODE_WORDS = (
    "uncorrectable ECC error",
    "GPU has fallen off the bus",
    "CUDA-capable device(s) is/are busy or unavailable",
    "no CUDA-capable device is detected",
    "Driver/library version mismatch",
    "CUDA error: system not yet initialized",
    "CUDA driver initialization failed",
    "is less than desired GPU memory utilization",
)
#: How `engines.watchdog` and `engines.step_watchdog` begin their reasons.
ENGINE_WORDS = re.compile(r"the engine('s process | hangs|\b.* failed)|no step ended in ")
#: A rank that the step watchdog found behind, and its node.
SLOW_RANK = re.compile(r"rank \d+ on (?P<node>\S+) is (?:silent|behind)")
#: Ends of an attempt that only follow from something else.
FOLLOWING = ("the lease of worker ", "another rank is gone", "told to stop ", "asked to leave ")
#: A signal that comes so long before the end of the job's time may be the warning of it: the
#: longest warning of ours, and what SLURM is early (faults.md 1.1), in seconds.
WARNING_S = 120 + 120
#: Letters of a reason that are kept.
TEXT_LENGTH = 400


@dataclass(frozen=True)
class Evidence:
    """All that is known of the end of one rank of an attempt, or of a job that left no word."""

    attempt: str = ""
    worker: int | None = None
    nodes: tuple[str, ...] = ()
    code: int | None = None
    """The exit code that the worker wrote down; None where it wrote nothing."""
    reasons: tuple[str, ...] = ()
    told: str = ""
    """The kind as the job itself told it, where it knew."""
    signature: str = ""
    """Of the traceback; see `signature_of`."""
    is_kernel_kill: bool = False
    """Whether the kernel killed something for its memory."""
    is_stopped: bool = False
    """Whether a signal asked it to leave."""
    seconds: float = 0.0
    time_limit_s: float | None = None
    scheduler_kind: str = ""
    """How the scheduler saw it end, in our words; empty where nobody tells."""
    scheduler_words: str = ""
    log_tail: str = ""

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended before its work was done."""

    kind: str
    text: str
    attempt: str = ""
    worker: int | None = None
    nodes: tuple[str, ...] = ()
    """Where it happened; for a bad node, the one that is bad."""
    signature: str = ""


def classify(evidence: Evidence) -> Failure | None:
    """What kind of failure it was; None where there was none."""
    if evidence.code == OK or (evidence.code is None and evidence.scheduler_kind == "completed"):
        return None
    # The surest witness first; the last one always knows something.
    kind, text = (
        of_the_job(evidence)
        or of_the_system(evidence)
        or of_an_error(evidence)
        or of_the_engine(evidence)
        or of_the_scheduler(evidence)
        or of_the_log(evidence)
    )
    slow = SLOW_RANK.search(text) if kind == ENGINE else None
    return Failure(
        kind,
        " ".join(text.split())[:TEXT_LENGTH] or MEANING[kind],
        evidence.attempt,
        evidence.worker,
        (slow["node"],) if slow else evidence.nodes,
        evidence.signature if kind == BUG else "",
    )


def of_the_job(evidence: Evidence) -> tuple[str, str] | None:
    """What the job knew itself when it ended."""
    return (evidence.told, evidence.reason) if evidence.told else None


def of_the_system(evidence: Evidence) -> tuple[str, str] | None:
    """What kernel and scheduler do to jobs that have done nothing wrong by their own account."""
    if evidence.is_kernel_kill or evidence.scheduler_kind == HOST_MEMORY:
        return HOST_MEMORY, evidence.reason or evidence.scheduler_words
    if evidence.scheduler_kind in (NODE, CANCELLED):
        return evidence.scheduler_kind, evidence.scheduler_words
    return None


def of_an_error(evidence: Evidence) -> tuple[str, str] | None:
    """An error of the job's own, by its exit code."""
    if evidence.code in (None, RETRY):
        return None
    if evidence.code != INTERNAL:
        return DATA if evidence.code == BAD_DATA else SET_UP, evidence.reason
    kind = kind_of_log(f"{evidence.reason}\n{evidence.log_tail}")
    engine = ENGINE if ENGINE_WORDS.match(evidence.reason) else BUG
    return kind or engine, evidence.reason


def of_the_engine(evidence: Evidence) -> tuple[str, str] | None:
    """An engine that ended before the job was told to leave."""
    if not ENGINE_WORDS.match(evidence.reason):
        return None
    return kind_of_log(evidence.log_tail) or ENGINE, evidence.reason


def of_the_scheduler(evidence: Evidence) -> tuple[str, str] | None:
    """The scheduler took the job away, as it says or as its signal says."""
    if evidence.scheduler_kind in (PREEMPTED, WALLTIME):
        return evidence.scheduler_kind, evidence.reason or evidence.scheduler_words
    if evidence.is_stopped:
        return WALLTIME if is_late(evidence) else PREEMPTED, evidence.reason
    return None


def of_the_log(evidence: Evidence) -> tuple[str, str]:
    """What is left: a death by signal, or no word at all."""
    if evidence.code is not None:
        if evidence.reason.startswith(FOLLOWING):
            return FOLLOWS, evidence.reason
        return kind_of_log(evidence.log_tail) or KILLED, evidence.reason
    words = evidence.scheduler_words
    kind = kind_of_log(evidence.log_tail) or (KILLED if words else LOST)
    return kind, f"it left no word{f'; the scheduler says {words}' if words else ''}"


def kind_of_log(text: str) -> str:
    """A bad node or a GPU whose memory was too small, by the words of their libraries; else ""."""
    if any(word in text for word in NODE_WORDS):
        return NODE
    return GPU_MEMORY if any(word in text for word in TORCH_WORDS + OTHER_WORDS) else ""


def is_late(evidence: Evidence) -> bool:
    """Whether so little of the job's time was left that a signal was the warning of its end."""
    limit = evidence.time_limit_s
    return limit is not None and limit - evidence.seconds <= WARNING_S


def as_json(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Failures as JSON values."""
    return [vars(failure) | {"nodes": list(failure.nodes)} for failure in failures]


def from_json(values: Sequence[dict[str, Any]]) -> list[Failure]:
    """Failures from JSON values."""
    return [Failure(**{**value, "nodes": tuple(value["nodes"])}) for value in values]
