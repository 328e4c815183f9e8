"""One shard in the making: each row once, the others kept with the reason why not."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.data.adapters import content_id
from hala_hpc.data.corpus import Kind, part_name, part_note, read_part, rejected_name
from hala_hpc.data.corpus_writer import CorpusWriter, RejectWriter, count_rejected
from hala_hpc.data.intake import Taken

ROWS_IN = "hala.rows_in"


class Shard:
    """The two files of a unit; use as a context manager.

    Equal rows come to the same unit, so it finds all exact duplicates by itself; it remembers
    about 100 bytes for each row it wrote.
    """

    def __init__(self, folder: Path, unit: int, kind: Kind, group_characters: int) -> None:
        path = folder / part_name(unit)
        self.writer = CorpusWriter(path, kind, group_characters=group_characters)
        self.rejects = RejectWriter(folder / rejected_name(unit))
        self.rows_in = 0
        self._seen: set[bytes] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.writer)
        self._stack.enter_context(self.rejects)
        return self

    def add(self, taken: Taken) -> None:
        """Write a row to one of the two files."""
        self.rows_in += 1
        key = bytes.fromhex(taken.id)
        reason = taken.reason or ("duplicate" if key in self._seen else "")
        if reason or taken.content is None:
            record, more = taken.record, {"id": taken.id} if taken.id else {}
            self.rejects.add(record.where, record.line, reason, record.raw, **more)
            return
        self._seen.add(key)
        self.writer.add({"id": taken.id, "origin": taken.origin, **taken.content})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.writer.note(ROWS_IN, str(self.rows_in))
        self._stack.__exit__(kind, error, trace)


def read_back(folder: Path, unit: int) -> tuple[int, int, dict[str, int]]:
    """Rows in, rows out and rejected rows by reason of a finished shard, from its files.

    Raises UserError 70 when a row is not what its id says or stands twice, 65 for a torn file.
    """
    part = folder / part_name(unit)
    seen: set[str] = set()
    for row in read_part(part):
        if row["id"] in seen or content_id(row) != row["id"]:
            raise UserError(f"{part}: row {row['id']} was changed or stands twice", INTERNAL)
        seen.add(row["id"])
    return int(part_note(part, ROWS_IN)), len(seen), count_rejected(folder / rejected_name(unit))
