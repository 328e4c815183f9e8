"""An error of one rank keeps its failure class: a lost lease is not a defect of the rank."""

import pytest

from hala_hpc.core.errors import BadNode, FailureClass, LeaseLost, TransientError, UserError
from hala_hpc.engines.training.collectives import run_on_all_ranks


@pytest.mark.kinds
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LeaseLost("it went to another"), FailureClass.SECONDARY),
        (BadNode("a disk is full", nodes=["node1"]), FailureClass.NODE_FAILURE),
        (OSError("stale file handle"), None),
    ],
)
def test_an_error_that_is_agreed_on_keeps_its_class(
    error: Exception, kind: FailureClass | None
) -> None:
    def work() -> None:
        raise error

    with pytest.raises(TransientError) as caught:
        run_on_all_ranks(work)
    assert caught.value.kind is kind


@pytest.mark.kinds
def test_a_full_disk_is_a_mistake_with_a_code_of_its_own() -> None:
    def work() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError) as caught:
        run_on_all_ranks(work)
    assert caught.value.code == 73
