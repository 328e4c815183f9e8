"""POLICY has an action, a bound, a text and a responsible party for each failure class."""

import pytest

from hala_hpc.core.errors import FailureClass
from hala_hpc.jobs.failures.policy import POLICY, Action, Blame, Counted
from hala_hpc.jobs.failures.remedies import REMEDIES

pytestmark = pytest.mark.kinds

#: Actions that do not change the spec of a round: resubmission, or no other round.
UNCHANGED = {Action.RESUBMIT, Action.STOP, Action.LEAVE_TO_USER}


@pytest.mark.parametrize("kind", FailureClass)
def test_every_class_has_a_remedy_a_bound_a_text_and_a_blame(kind: FailureClass) -> None:
    remedy = POLICY[kind]
    assert remedy.action in REMEDIES or remedy.action in UNCHANGED
    assert remedy.bound.limit >= 1
    assert isinstance(remedy.bound.counts, Counted)
    assert isinstance(remedy.blames, Blame)
    assert remedy.meaning
    assert remedy.after >= 1


def test_every_action_is_either_done_or_changes_nothing() -> None:
    assert set(REMEDIES) | UNCHANGED == set(Action)
    assert not set(REMEDIES) & UNCHANGED


def test_the_texts_of_the_classes_differ() -> None:
    assert len({remedy.meaning for remedy in POLICY.values()}) == len(FailureClass)


def test_a_round_that_the_cluster_ended_has_no_bound_of_idle_rounds() -> None:
    for remedy in POLICY.values():
        is_idle = remedy.bound.counts is Counted.IDLE_ROUNDS
        assert not (is_idle and remedy.blames is Blame.CLUSTER)
