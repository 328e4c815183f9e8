"""Write the two files of a corpus shard: good rows as Parquet, rejected ones as JSON lines."""

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from hala_hpc.core.files import whole_file
from hala_hpc.data.corpus.reader import COLUMNS, Kind, Row, characters_of

#: Characters that a writer holds before it writes a row group: a few tens of MB as objects.
GROUP_CHARACTERS = 8_000_000
#: Columns whose words repeat.
REPEATED = ["origin", "messages.list.element.role", "messages_source.list.element.role"]
#: Rows that a writer holds at most, for rows that are short.
GROUP_ROWS = 10_000


class CorpusWriter:
    """Streams rows into one Parquet file; use as a context manager.

    The file takes its name when the block ends well, and is not there otherwise. `rows` counts
    what was added. `extra` names further columns and their Arrow types, e.g.
    `{"verdict": "string"}`.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind,
        extra: dict[str, str] | None = None,
        group_characters: int = GROUP_CHARACTERS,
    ) -> None:
        self.path = path
        self.schema = schema_of(kind, extra or {})
        self.group_characters = group_characters
        self.rows = 0
        self._held: list[Row] = []
        self._characters = 0
        self._stack = ExitStack()
        self._file: Any = None

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        temporary = self._stack.enter_context(whole_file(self.path))
        self._file = self._stack.enter_context(
            # No dictionary of the texts: it would be made and thrown away.
            pq.ParquetWriter(temporary, self.schema, compression="zstd", use_dictionary=REPEATED)
        )
        return self

    def add(self, row: Row) -> None:
        """Add a row. Raises KeyError when a column is missing; columns not named are left out."""
        self._held.append({name: row[name] for name in self.schema.names})
        self.rows += 1
        self._characters += characters_of(row)
        if self._characters >= self.group_characters or len(self._held) >= GROUP_ROWS:
            self._write_group()

    def add_table(self, table: Any) -> None:
        """Add the rows of an Arrow table that has just the columns of this corpus."""
        self._write_group()
        self._file.write_table(table.cast(self.schema), row_group_size=GROUP_ROWS)
        self.rows += table.num_rows

    def note(self, name: str, value: str) -> None:
        """Keep a word about the shard in the footer of the file."""
        self._file.add_key_value_metadata({name: value})

    def _write_group(self) -> None:
        import pyarrow as pa

        if self._held:
            self._file.write_table(pa.Table.from_pylist(self._held, schema=self.schema))
        self._held, self._characters = [], 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._write_group()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)


class RejectWriter:
    """Streams rejected rows into a JSONL file that is there whole or not at all.

    `reasons` counts what was added, by reason. Bytes that are no UTF-8 stand as lone surrogates
    (`\\udc80`), as Python's surrogateescape has it, so that nothing of a row is lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._stack = ExitStack()
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        temporary = self._stack.enter_context(whole_file(self.path))
        self._file = self._stack.enter_context(temporary.open("w", encoding="utf-8"))
        return self

    def add(self, where: str, line: int, reason: str, row: Any, **more: Any) -> None:
        """Keep a row: the file and line it came from, a word why, and the row as it was."""
        value = {"where": where, "line": line, "reason": reason, **more, "row": row}
        self.add_line(reason, json_line(value))

    def add_line(self, reason: str, line: str) -> None:
        """Keep a row whose line of JSON is made already."""
        assert self._file is not None
        self.reasons[reason] += 1
        self._file.write(line)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def json_line(value: Any) -> str:
    """A value as one line of JSON that any UTF-8 reader takes; unknown types become text."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = json.dumps(value, default=str)
    return text + "\n"


def count_rejected(path: Path) -> dict[str, int]:
    """Rejected rows by reason, read back from a file of RejectWriter."""
    reasons: Counter[str] = Counter()
    with path.open(encoding="utf-8") as file:
        for line in file:
            reasons[json.loads(line)["reason"]] += 1
    return dict(reasons)


def schema_of(kind: Kind, extra: dict[str, str]) -> Any:
    """The Arrow schema of a kind of row."""
    import pyarrow as pa

    message = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    types = {"source": pa.string(), "target": pa.string()}
    fields = [("id", pa.string()), ("origin", pa.string())]
    fields += [(name, types.get(name, message)) for name in COLUMNS[kind]]
    return pa.schema([*fields, *((name, pa.type_for_alias(word)) for name, word in extra.items())])


def hex_texts(ids: bytes) -> Any:
    """Ids of 16 bytes each as an Arrow array of texts of 32 hexadecimal digits."""
    import numpy as np
    import pyarrow as pa

    digits = ids.hex().encode()
    ends: Any = np.arange(0, len(digits) + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(len(ids) // 16, pa.py_buffer(ends), pa.py_buffer(digits))
