"""What the gate is told when the result of a node is less than the sum of its units."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Collected:
    """Returned by `collect` of a stage that takes out rows which the units had let through.

    Which rows are best can only be known once all are there. The summary counts those taken out as
    rejected, so that rows in == rows out + rows rejected holds for the output, too.
    """

    details: Any
    """JSON details for the summary, as `collect` returns them otherwise."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Rows taken out, by reason."""
