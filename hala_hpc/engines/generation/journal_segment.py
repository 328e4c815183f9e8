"""Lines of a journal segment: one for each finished row, and a footer with count and digest."""

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from hala_hpc.core.damage import Damaged, read_content
from hala_hpc.core.record import JsonRecord
from hala_hpc.data.corpus.reader import Row
from hala_hpc.engines.generation.row_program import Rejection
from hala_hpc.engines.generation.unit_costs import Costs


class JournalFooter(JsonRecord):
    """Last line of a segment: shows that the segment is complete, and what its rows cost."""

    rows: int
    digest: str
    costs: dict[str, int | float]

    @classmethod
    def of(cls, lines: list[bytes], costs: Costs) -> Self:
        """Make the footer of these lines."""
        return cls(rows=len(lines), digest=compute_journal_digest(lines), costs=costs.to_values())

    def is_of(self, lines: list[bytes]) -> bool:
        """Whether these are the lines that were written."""
        return self.rows == len(lines) and self.digest == compute_journal_digest(lines)

    def encoded(self) -> bytes:
        """The footer as a line of the segment."""
        return f"{self.line()}\n".encode()


@dataclass(frozen=True, slots=True)
class FinishedRow:
    """A line of a segment: a finished row and its result. Not a `JsonRecord`, for speed."""

    index: int
    """Number in its unit, from 0."""
    id_: str
    result: Row | Rejection
    is_asked: bool = True
    """Whether the model was prompted with it; false if a rule or its length decided."""

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Parse a line of a segment whose digest is right."""
        value = json.loads(line)
        is_asked = value.get("asked", True)
        if "row" in value:
            return cls(value["index"], value["id"], value["row"], is_asked)
        rejection = Rejection(value["reason"], value["said"], value["more"])
        return cls(value["index"], value["id"], rejection, is_asked)

    def to_line(self) -> bytes:
        """The row as a line of the segment."""
        value: dict[str, Any] = {"index": self.index, "id": self.id_}
        if not self.is_asked:
            value["asked"] = False
        if isinstance(self.result, Rejection):
            values = {"reason": self.result.reason, "said": self.result.response}
            value |= values | {"more": self.result.extra_values}
        else:
            value["row"] = self.result
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"

    @property
    def is_rejected(self) -> bool:
        """Whether the row was rejected."""
        return isinstance(self.result, Rejection)

    @property
    def reason(self) -> str:
        """Why the row is rejected; empty if it is not."""
        return self.result.reason if isinstance(self.result, Rejection) else ""


def read_journal_segment(path: Path) -> list[bytes] | None:
    """Read the lines of a segment, the footer last; None if it is damaged.

    Raises: UserError if the file cannot be read.
    """
    try:
        lines = (read_content(path, JournalFooter.fix) or b"").splitlines(keepends=True)
        if not lines:
            return None
        footer = JournalFooter.from_json(lines[-1], path)
        # One version wrote all lines of a segment: the first shows whether this version reads them.
        if footer.rows:
            FinishedRow.from_line(lines[0])
    except (Damaged, ValueError, KeyError, TypeError):
        return None
    return lines if footer.is_of(lines[:-1]) else None


def compute_journal_digest(lines: list[bytes]) -> str:
    """Compute the digest of the lines of a segment, as 32 hexadecimal digits."""
    return blake2b(b"".join(lines), digest_size=16).hexdigest()
