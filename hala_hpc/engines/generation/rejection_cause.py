"""Whose matter a rejected row is: its own, or that of model and settings."""

from enum import StrEnum

from hala_hpc.data.checks.content import Content


class Cause(StrEnum):
    """What a reason of rejection says something about."""

    CONTENT = "content"
    """The row: another model would have the same trouble with it, or it was not wanted."""
    FAULT = "fault"
    """The model, its prompt or a setting: other rows will have it, too."""


def cause_of(reason: str, wanted: frozenset[str] | None) -> Cause:
    """The cause behind a reason; `wanted` are those that a task has for rows that it leaves out."""
    is_content = wanted is None or reason in wanted or reason in frozenset(Content)
    return Cause.CONTENT if is_content else Cause.FAULT
