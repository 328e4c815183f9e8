"""How far a running node is, by what its workers tell: rows or steps, speed, time left."""

from dataclasses import dataclass
from datetime import timedelta

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.job_records import Progress


@dataclass(frozen=True)
class NodeProgress:
    """Progress of a node. What is not known is None."""

    done: float
    whole: float
    unit: str
    """row, step or unit: what is counted."""
    tokens_per_s: float | None = None
    loss: float | None = None
    left_s: float | None = None

    def words(self) -> str:
        """`120/4000 steps, 1234 tokens/s, loss 2.310`."""
        return ", ".join([f"{self.done:.0f}/{self.whole:.0f} {self.unit}s", *self.speed()])

    def speed(self) -> list[str]:
        """Speed and loss, as far as they are known."""
        parts = []
        if self.tokens_per_s:
            parts.append(f"{self.tokens_per_s:.0f} tokens/s")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        return parts

    def left(self) -> str:
        """Hours, minutes and seconds that are left; a dash where nobody knows."""
        return "-" if self.left_s is None else str(timedelta(seconds=round(self.left_s)))


def progress_of(artifact: Artifact, units: int) -> NodeProgress:
    """What the workers of a node tell now."""
    words, done = artifact.progress(), len(artifact.done_units())
    counted = rows(words, done / units) or steps(words) or (done, units, "unit")
    seconds = max((word.seconds for word in words), default=0.0)
    losses = [word.loss for word in words if word.loss is not None]
    done_now, whole, unit = counted
    return NodeProgress(
        done_now,
        whole,
        unit,
        tokens_per_s=sum(map(rate_of, words)) or None,
        loss=losses[-1] if losses else None,
        left_s=time_left(words, counted, seconds),
    )


def rate_of(word: Progress) -> float:
    """Tokens a second of a worker: as it tells, or since it began."""
    if word.tokens_per_s is not None:
        return float(word.tokens_per_s)
    return (word.tokens or 0) / word.seconds if word.seconds else 0.0


def rows(words: list[Progress], share: float) -> tuple[float, float, str] | None:
    """Rows done and in all; None where the workers tell of none.

    What former rounds did is known by the share of the units that have their mark.
    """
    whole = max((word.rows_of_node or 0 for word in words), default=0)
    if not whole:
        return None
    done = sum(word.rows or 0 for word in words)
    return max(done, int(whole * share)), whole, "row"


def steps(words: list[Progress]) -> tuple[float, float, str] | None:
    """Training steps done and in all; None where the workers tell of none."""
    whole = sum(word.steps_total or 0 for word in words)
    return (sum(word.step or 0 for word in words), whole, "step") if whole else None


def time_left(
    words: list[Progress], counted: tuple[float, float, str], seconds: float
) -> float | None:
    """Seconds that are left: as a training tells, or by the rows since the workers began."""
    told = [word.left_s for word in words if word.left_s is not None]
    if told:
        return float(max(told))
    done, whole, unit = counted
    if unit != "row" or not done or not seconds:
        return None
    return (whole - done) * seconds / done
