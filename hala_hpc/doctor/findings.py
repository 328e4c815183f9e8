"""A finding of the doctor: a fact that is good, a warning or an error, its effect, and the fix."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hala_hpc.core.errors import CONFIG

State = Literal["good", "warn", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    topic: str
    """Subject: cluster, jobs, gpus, folders, environments, inputs, memory, languages."""
    state: State
    """good; warn: works, at a price; error: a run would fail."""
    what: str
    """The fact, with names and numbers."""
    why: str
    """The effect on a run."""
    fix: str = ""
    """What to run or change; empty if there is nothing to do."""
    code: int = CONFIG
    """Exit code of a launch that this error prevents."""

    @property
    def message(self) -> str:
        """Fact, effect and fix in one line."""
        return f"{self.what}: {self.why}" + (f"; {self.fix}" if self.fix else "")


def worst_state(findings: Iterable[Finding]) -> State:
    """The worst state of some findings; good if there are none."""
    order: list[State] = ["good", "warn", "error"]
    return max((finding.state for finding in findings), key=order.index, default="good")
