"""The failures of an ended round as input of the remedies, which change the next round's spec."""

from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.core.errors import FailureClass
from hala_hpc.core.job_records import Failure, RoundFailures
from hala_hpc.core.records import RoundSpec, StageSource
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.failures.policy import POLICY, Action


class NoRemedy(Exception):
    """Another round would fail in the same way; the text gives reason and fix."""

    def __init__(self, text: str, code: int, kind: FailureClass) -> None:
        self.code, self.kind = code, kind
        super().__init__(text)


@dataclass(frozen=True)
class Aftermath:
    """The failures of a round, and what its remedies need besides them."""

    failures: Sequence[Failure]
    """Failures of the last round."""
    all_failures: Sequence[Failure]
    """Failures of all rounds since the last launch."""
    found: RoundFailures
    """What the gate recorded of the last round, with its queries of the cluster."""
    stage: str
    stage_source: StageSource | None = None
    """None for one of our stages."""

    def with_action(self, action: Action) -> list[Failure]:
        """Failures of the last round whose policy has this action."""
        return [failure for failure in self.failures if POLICY[failure.kind].action is action]


def replace_resources(spec: RoundSpec, resources: Resources, because: Sequence[str]) -> RoundSpec:
    """The spec with other resources, and the reasons for it."""
    reasons = (*spec.because, *because)
    return spec.model_copy(update={"resources": resources, "because": reasons})
