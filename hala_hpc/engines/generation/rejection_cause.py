"""Whether a row was rejected for its content, or for a fault of the model or the settings."""

from enum import StrEnum

from hala_hpc.data.checks.content import ContentKind


class RejectionCause(StrEnum):
    """What causes a rejection."""

    CONTENT = "content"
    """The row: another model would fail on it, too, or the task leaves it out."""
    FAULT = "fault"
    """The model, its prompt or a setting: other rows are affected, too."""


def classify_rejection(reason: str, expected: frozenset[str] | None) -> RejectionCause:
    """Classify a reason; `expected` has those of rows that a task leaves out, None means all."""
    is_content = expected is None or reason in expected or reason in frozenset(ContentKind)
    return RejectionCause.CONTENT if is_content else RejectionCause.FAULT
