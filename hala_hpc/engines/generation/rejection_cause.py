"""Whose matter a rejected row is: its own, or that of model and settings."""

from enum import StrEnum

from hala_hpc.data.checks.content import ContentKind


class RejectionCause(StrEnum):
    """What a reason of rejection says something about."""

    CONTENT = "content"
    """The row: another model would have the same trouble with it, or it was not wanted."""
    FAULT = "fault"
    """The model, its prompt or a setting: other rows will have it, too."""


def classify_rejection(reason: str, expected: frozenset[str] | None) -> RejectionCause:
    """The cause behind a reason; `wanted` are those that a task has for rows that it leaves out."""
    is_content = expected is None or reason in expected or reason in frozenset(ContentKind)
    return RejectionCause.CONTENT if is_content else RejectionCause.FAULT
