"""Progress of a running node from the records of its workers: rows or steps, speed, time left."""

from dataclasses import dataclass
from datetime import timedelta

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.job_records import Progress


@dataclass(frozen=True)
class NodeProgress:
    """Progress of a node. None for unknown values."""

    done: float
    whole: float
    unit: str
    """What is counted: row, step or unit."""
    tokens_per_s: float | None = None
    loss: float | None = None
    left_s: float | None = None

    def describe(self) -> str:
        """`120/4000 steps, 1234 tokens/s, loss 2.310`."""
        return ", ".join([f"{self.done:.0f}/{self.whole:.0f} {self.unit}s", *self.speed()])

    def speed(self) -> list[str]:
        """Speed and loss, if known."""
        parts = []
        if self.tokens_per_s:
            parts.append(f"{self.tokens_per_s:.0f} tokens/s")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        return parts

    def format_time_left(self) -> str:
        """Remaining time in hours, minutes and seconds; `-` if unknown."""
        return "-" if self.left_s is None else str(timedelta(seconds=round(self.left_s)))


def summarize_progress(artifact: Artifact, units: int) -> NodeProgress:
    """Sum up the progress records of a node's workers."""
    reports, done = artifact.progress(), len(artifact.done_units())
    counted = rows(reports, done / units) or steps(reports) or (done, units, "unit")
    seconds = max((report.seconds for report in reports), default=0.0)
    losses = [report.loss for report in reports if report.loss is not None]
    done_now, whole, unit = counted
    return NodeProgress(
        done_now,
        whole,
        unit,
        tokens_per_s=sum(map(rate_of, reports)) or None,
        loss=losses[-1] if losses else None,
        left_s=time_left(reports, counted, seconds),
    )


def rate_of(report: Progress) -> float:
    """Tokens per second of a worker: as it reports, or the mean since its start."""
    if report.tokens_per_s is not None:
        return float(report.tokens_per_s)
    return (report.tokens or 0) / report.seconds if report.seconds else 0.0


def rows(reports: list[Progress], share: float) -> tuple[float, float, str] | None:
    """Rows done and total; None if the workers report none.

    `share` is the share of units with a marker: it covers the rows of earlier rounds.
    """
    whole = max((report.rows_of_node or 0 for report in reports), default=0)
    done = sum(report.rows or 0 for report in reports)
    if not whole:
        # Workers that know only their own rows report those of the units they were given.
        whole = sum(report.rows_of_worker or 0 for report in reports)
        return (done, whole, "row") if whole else None
    return max(done, int(whole * share)), whole, "row"


def steps(reports: list[Progress]) -> tuple[float, float, str] | None:
    """Training steps done and total; None if the workers report none."""
    whole = sum(report.steps_total or 0 for report in reports)
    return (sum(report.step or 0 for report in reports), whole, "step") if whole else None


def time_left(
    reports: list[Progress], counted: tuple[float, float, str], seconds: float
) -> float | None:
    """Remaining seconds: as a training reports, or by the rate of rows since the workers' start."""
    estimates = [report.left_s for report in reports if report.left_s is not None]
    if estimates:
        return float(max(estimates))
    done, whole, unit = counted
    if unit != "row" or not done or not seconds:
        return None
    return (whole - done) * seconds / done
