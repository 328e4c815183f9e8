"""The lines of a piece: a row each that is finished, and a last one with their count and digest."""

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
    """The last line of a piece: that it is whole, and what its rows cost."""

    rows: int
    digest: str
    costs: dict[str, int | float]

    @classmethod
    def of(cls, lines: list[bytes], costs: Costs) -> Self:
        """The end of a piece of these lines."""
        return cls(rows=len(lines), digest=compute_journal_digest(lines), costs=costs.to_values())

    def is_of(self, lines: list[bytes]) -> bool:
        """Whether these are the lines that were written."""
        return self.rows == len(lines) and self.digest == compute_journal_digest(lines)

    def encoded(self) -> bytes:
        """As it stands in the piece."""
        return f"{self.line()}\n".encode()


@dataclass(frozen=True, slots=True)
class FinishedRow:
    """A line of a piece: a row that is finished, and what came of it. Not a `Record`: for speed."""

    index: int
    """Number in its unit, from 0."""
    id_: str
    result: Row | Rejection
    is_asked: bool = True
    """Whether the model was asked about it; not where a rule or its length decided."""

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read a line of a piece whose digest is right."""
        value = json.loads(line)
        is_asked = value.get("asked", True)
        if "row" in value:
            return cls(value["index"], value["id"], value["row"], is_asked)
        rejection = Rejection(value["reason"], value["said"], value["more"])
        return cls(value["index"], value["id"], rejection, is_asked)

    def to_line(self) -> bytes:
        """As it stands in the piece."""
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
        """Whether the row is not in the result."""
        return isinstance(self.result, Rejection)

    @property
    def reason(self) -> str:
        """Why the row is rejected; empty where it is not."""
        return self.result.reason if isinstance(self.result, Rejection) else ""


def read_journal_segment(path: Path) -> list[bytes] | None:
    """The lines of a piece, None when it is damaged. Raises UserError where it cannot be read."""
    try:
        lines = (read_content(path, JournalFooter.fix) or b"").splitlines(keepends=True)
        if not lines:
            return None
        end = JournalFooter.from_json(lines[-1], path)
        # One version wrote all lines of a piece: the first tells whether this one reads them.
        if end.rows:
            FinishedRow.from_line(lines[0])
    except (Damaged, ValueError, KeyError, TypeError):
        return None
    return lines if end.is_of(lines[:-1]) else None


def compute_journal_digest(lines: list[bytes]) -> str:
    """32 hexadecimal digits of the lines of a piece."""
    return blake2b(b"".join(lines), digest_size=16).hexdigest()
