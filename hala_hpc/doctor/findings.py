"""What a check found: one thing that is good, doubtful or bad, why it matters, and the cure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hala_hpc.core.errors import CONFIG

State = Literal["good", "warn", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    topic: str
    """What it is about: cluster, jobs, gpus, folders, environments, inputs, memory."""
    state: State
    """good; warn: works, at a price; bad: a run would fail."""
    what: str
    """The fact, with names and numbers."""
    why: str
    """What follows from it for a run."""
    fix: str = ""
    """What to type or change; empty where there is nothing to do."""
    code: int = CONFIG
    """Exit code of a launch that a bad finding keeps from submitting."""

    @property
    def message(self) -> str:
        """Fact, meaning and cure in one line."""
        return f"{self.what}: {self.why}" + (f"; {self.fix}" if self.fix else "")


def worst_state(findings: Iterable[Finding]) -> State:
    """The worst state among some findings; good where there are none."""
    order: list[State] = ["good", "warn", "bad"]
    return max((finding.state for finding in findings), key=order.index, default="good")
