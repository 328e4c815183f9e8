"""What is known after a round that ended with failures, and what changes the spec of the next."""

from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.core.errors import FailureClass
from hala_hpc.core.job_records import Failure, RoundFailures
from hala_hpc.core.records import RoundSpec, StageSource
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.failures.policy import POLICY, Action


class NoRemedy(Exception):
    """Another round would end as this one did; its text says why and names the cure."""

    def __init__(self, text: str, code: int, kind: FailureClass) -> None:
        self.code, self.kind = code, kind
        super().__init__(text)


@dataclass(frozen=True)
class Aftermath:
    """The failures of a round, and what its remedies must know beside them."""

    failures: Sequence[Failure]
    """Of the last round."""
    all_failures: Sequence[Failure]
    """Of all rounds since a person asked."""
    found: RoundFailures
    """What the gate found out about the last round, and asked the cluster then."""
    stage: str
    stage_source: StageSource | None = None
    """None for one of our stages."""

    def with_action(self, action: Action) -> list[Failure]:
        """Failures of the last round that ask for a remedy."""
        return [failure for failure in self.failures if POLICY[failure.kind].action is action]


def replace_resources(spec: RoundSpec, resources: Resources, because: Sequence[str]) -> RoundSpec:
    """The spec with other resources, and why."""
    reasons = (*spec.because, *because)
    return spec.model_copy(update={"resources": resources, "because": reasons})
