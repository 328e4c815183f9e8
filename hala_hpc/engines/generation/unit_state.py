"""What is finished of a unit before the unit is: pieces on the disk that outlive a kill.

A piece is a file of JSON lines, one for each finished row, and a last line with their count and
digest. It is there whole or not at all, is written by one attempt and never changed. Rows that two
attempts both finished count once: the piece whose name comes first wins.
"""

import contextlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Self

from hala_hpc.core.errors import UserError
from hala_hpc.core.files import whole_file
from hala_hpc.core.record import Record
from hala_hpc.data.corpus.reader import Row
from hala_hpc.engines.generation.row_program import Rejection

#: A row that is finished, in memory only.
HELD = -2
#: A row that is not finished.
OPEN = -1


class PieceEnd(Record):
    """The last line of a piece: that it is whole, and what its rows cost."""

    rows: int
    digest: str
    costs: dict[str, int | float]

    @classmethod
    def of(cls, lines: list[bytes], costs: Mapping[str, int | float]) -> Self:
        """The end of a piece of these lines."""
        return cls(rows=len(lines), digest=digest(lines), costs=dict(costs))

    def is_of(self, lines: list[bytes]) -> bool:
        """Whether these are the lines that were written."""
        return self.rows == len(lines) and self.digest == digest(lines)

    def encoded(self) -> bytes:
        """As it stands in the piece."""
        return f"{self.line()}\n".encode()


class UnitPieces:
    """The finished rows of one unit: those of earlier attempts, and those added since."""

    def __init__(self, folder: Path, rows: int, attempt: str) -> None:
        self.folder, self.attempt = folder, attempt
        self.costs: Counter[str] = Counter()
        """What the finished rows cost: texts, tokens, seconds and reasons to ask again."""
        self._written: Counter[str] = Counter()
        self._pieces: list[Path] = []
        self._piece = array("i", [OPEN]) * rows
        self._offset = array("q", [0]) * rows
        self._held: dict[int, bytes] = {}
        for path in sorted(folder.glob("piece-*.jsonl")):
            self._take_up(path)
        self.finished = sum(piece != OPEN for piece in self._piece)
        self._number = len(self._pieces)

    def __contains__(self, index: int) -> bool:
        return self._piece[index] != OPEN

    def _take_up(self, path: Path) -> None:
        """Count what an earlier attempt wrote; a damaged piece is as none, its rows are redone."""
        lines = whole_lines(path)
        if lines is None:
            return
        end = PieceEnd.from_json(lines.pop(), path)
        self.costs.update(end.costs)
        self._written.update(end.costs)
        offset, number = 0, len(self._pieces)
        self._pieces.append(path)
        for line in lines:
            index = json.loads(line)["index"]
            if index < len(self._piece) and self._piece[index] == OPEN:
                self._piece[index], self._offset[index] = number, offset
            offset += len(line)

    def add(self, index: int, id_: str, result: Row | Rejection) -> None:
        """Take a finished row; it is in memory until `write`."""
        self._held[index] = line_of(index, id_, result)
        self._piece[index] = HELD
        self.finished += 1

    def write(self, require_lease: Callable[[], None]) -> int:
        """Put what was added since the last time on the disk, as one piece; returns its rows."""
        if not self._held:
            return 0
        require_lease()
        lines = list(self._held.values())
        path = self.folder / f"piece-{self.attempt}-{self._number:05d}.jsonl"
        with whole_file(path) as temporary, temporary.open("wb") as file:
            file.writelines(lines)
            file.write(PieceEnd.of(lines, self.costs - self._written).encoded())
        offset = 0
        for index, line in self._held.items():
            self._piece[index], self._offset[index] = len(self._pieces), offset
            offset += len(line)
        self._pieces.append(path)
        self._held, self._written = {}, self.costs.copy()
        self._number += 1
        return len(lines)

    def results(self) -> Iterator[tuple[int, str, Row | Rejection]]:
        """Index, id and result of every finished row, in the order of the input."""
        files = [path.open("rb") for path in self._pieces]
        try:
            for index, piece in enumerate(self._piece):
                if piece == OPEN:
                    continue
                if piece == HELD:
                    line = self._held[index]
                else:
                    files[piece].seek(self._offset[index])
                    line = files[piece].readline()
                yield (index, *result_of(line))
        finally:
            for file in files:
                file.close()

    def remove(self) -> None:
        """Remove the pieces of a unit that is committed, and what kills left of others."""
        for path in self.folder.glob("*piece-*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def count_rejections(folder: Path) -> int:
    """Rejected rows in the pieces of a unit."""
    pieces = (whole_lines(path) or [] for path in folder.glob("piece-*.jsonl"))
    return sum("reason" in json.loads(line) for lines in pieces for line in lines[:-1])


def forget_rejections(folder: Path) -> None:
    """Take the rejected rows out of the pieces of a unit; only while nobody works at it.

    What they cost stays counted, as it was spent.
    """
    for path in folder.glob("piece-*.jsonl"):
        lines = whole_lines(path) or []
        good = [line for line in lines[:-1] if "reason" not in json.loads(line)]
        if len(good) == len(lines[:-1]):
            continue
        end = PieceEnd.of(good, PieceEnd.from_json(lines[-1], path).costs)
        with whole_file(path) as temporary:
            temporary.write_bytes(b"".join(good) + end.encoded())


def whole_lines(path: Path) -> list[bytes] | None:
    """The lines of a piece, None when it is damaged."""
    lines = path.read_bytes().splitlines(keepends=True)
    if not lines:
        return None
    try:
        end = PieceEnd.from_json(lines[-1], path)
    except UserError:
        return None
    return lines if end.is_of(lines[:-1]) else None


def digest(lines: list[bytes]) -> str:
    """32 hexadecimal digits of the lines of a piece."""
    return blake2b(b"".join(lines), digest_size=16).hexdigest()


def line_of(index: int, id_: str, result: Row | Rejection) -> bytes:
    """One finished row as a line of a piece."""
    if isinstance(result, Rejection):
        said = {"reason": result.reason, "said": result.said, "more": result.more}
        value = {"index": index, "id": id_, **said}
    else:
        value = {"index": index, "id": id_, "row": result}
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def result_of(line: bytes) -> tuple[str, Row | Rejection]:
    """Id and result in one line of a piece."""
    value = json.loads(line)
    if "row" in value:
        return value["id"], value["row"]
    return value["id"], Rejection(value["reason"], value["said"], value["more"])
