"""Measure each rehearsed node: state, rows, reasons with samples, time, memory."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import OK
from hala_hpc.core.records import NodeSummary
from hala_hpc.data.corpus.reader import REJECTED
from hala_hpc.jobs.attempt_records import iter_attempt_ends

#: Samples of each reason, and maximum length of a sample in characters.
SAMPLES, MAX_SAMPLE_LENGTH = 3, 300
#: Metrics of each step of a training, in its output.
METRICS = "metrics/metrics.jsonl"


class RehearsalState(StrEnum):
    """State of a rehearsed node."""

    WORKS = "works"
    FAILED = "failed"
    NOT_STARTED = "not started"


@dataclass(frozen=True)
class RejectedSample:
    """A rejected row."""

    reason: str
    source: str
    answer: str
    """Answer of the model; empty if it was not queried."""


@dataclass(frozen=True)
class NodeMeasurement:
    """Measurements of a rehearsed node."""

    step: Step
    state: RehearsalState
    reasons: tuple[str, ...] = ()
    """Reasons of its failure."""
    rows_in: int = 0
    rows_out: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[RejectedSample, ...] = ()
    tokens: int = 0
    """Tokens written, or read if none are written."""
    start_s: float = 0.0
    """Seconds of a worker until libraries and models were loaded."""
    work_s: float | None = None
    """Seconds of all workers after that; None if unknown."""
    memory_gb: float | None = None
    """Maximum memory used on a GPU, in GB; None if it was not measured."""
    losses: tuple[float, float] | None = None
    """First and last loss of a training."""

    @property
    def rows_rejected(self) -> int:
        """Number of rows rejected for any reason."""
        return sum(self.rejected.values())

    @property
    def rejected_share(self) -> float:
        """Share of the rows that were rejected, 0 to 1."""
        return self.rows_rejected / self.rows_in if self.rows_in else 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second of a running worker; None if unknown."""
        return self.tokens / self.work_s if self.tokens and self.work_s else None


def measure_node(step: Step) -> NodeMeasurement:
    """Measure a node as far as it has run."""
    artifact = step.artifact
    summary = artifact.summary()
    if summary is None:
        failure = artifact.failure()
        if failure is None:
            return NodeMeasurement(step, RehearsalState.NOT_STARTED)
        lines = tuple(reason.text for reason in failure.reasons)
        return NodeMeasurement(step, RehearsalState.FAILED, lines)
    start_s, work_s = seconds_of(artifact)
    return NodeMeasurement(
        step,
        RehearsalState.WORKS,
        rows_in=summary.rows_in,
        rows_out=summary.rows_out,
        rejected=summary.rejected,
        samples=tuple(samples_of(artifact, summary)),
        tokens=summary.tokens_out or summary.tokens_in,
        start_s=start_s,
        work_s=work_s,
        memory_gb=memory_of(artifact),
        losses=losses_of(summary),
    )


def seconds_of(artifact: Artifact) -> tuple[float, float | None]:
    """Mean seconds of a worker until all is loaded, and total seconds of all workers after that."""
    ends = [end.record for end in iter_attempt_ends(artifact) if end.rank == 0]
    good = [end for end in ends if end.code == OK]
    # Without a record of the loading time, a few rows allow no projection to many.
    if not any(end.loading_s for end in good):
        return sum(end.seconds for end in good), None
    start_s = sum(end.loading_s or 0.0 for end in good) / len(good)
    return start_s, sum(end.seconds - (end.loading_s or 0.0) for end in good)


def samples_of(artifact: Artifact, summary: NodeSummary) -> Iterator[RejectedSample]:
    """Select some rejected rows of each reason."""
    left = {reason: SAMPLES for reason, count in summary.rejected.items() if count}
    for reason, source, answer in rejected_rows(artifact.output):
        if left.get(reason):
            left[reason] -= 1
            yield RejectedSample(reason, truncate_text(source), truncate_text(answer))
        if not any(left.values()):
            return


def rejected_rows(output: Path) -> Iterator[tuple[str, str, str]]:
    """Read reason, source and answer of the rejected rows of a node."""
    for path in sorted(output.glob("rejected-*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                row = json.loads(line)
                yield str(row["reason"]), text_of(row["row"]), ""
    if (output / REJECTED).is_dir():
        import pyarrow.parquet as pq

        for path in sorted((output / REJECTED).glob("part-*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield str(row["reason"]), text_of(row), str(row.get("said") or "")


def text_of(row: Any) -> str:
    """Format a row for people: the source of a pair, the messages of a conversation."""
    if not isinstance(row, dict):
        return str(row)
    if isinstance(row.get("messages"), list):
        return " / ".join(str(message.get("content")) for message in row["messages"])
    if "source" in row and "target" in row:
        return f"{row['source']} = {row['target']}"
    return json.dumps(row, ensure_ascii=False)


def truncate_text(text: str) -> str:
    """Truncate a long text."""
    return text if len(text) <= MAX_SAMPLE_LENGTH else f"{text[:MAX_SAMPLE_LENGTH]}…"


def memory_of(artifact: Artifact) -> float | None:
    """Maximum memory used on a GPU in a training, in GB; None if unknown."""
    path, newest = artifact.output / METRICS, artifact.newest_round_if_valid()
    if not path.is_file() or newest is None:
        return None
    if not newest.spec.resources.gpus_per_node or newest.spec.launcher.device == "cpu":
        # The measured memory is that of the host.
        return None
    with path.open(encoding="utf-8") as lines:
        found = [json.loads(line).get("memory_gb") for line in islice(lines, 10_000)]
    known = [float(one) for one in found if one]
    return max(known) if known else None


def losses_of(summary: NodeSummary) -> tuple[float, float] | None:
    """First and last loss of a training."""
    details = summary.details if isinstance(summary.details, dict) else {}
    first, last = details.get("loss_first"), details.get("loss_last")
    return (float(first), float(last)) if first is not None and last is not None else None
