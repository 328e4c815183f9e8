"""Write the two files of a corpus shard: accepted rows as Parquet, rejected ones as JSON lines."""

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import atomic_file, run_on_success
from hala_hpc.data.corpus.messages import FIELD_TYPES, TOOLS
from hala_hpc.data.corpus.reader import COLUMNS, Kind, Row, count_characters

#: Characters that a writer buffers before it writes a row group: a few tens of MB as objects.
GROUP_CHARACTERS = 8_000_000
#: Columns with few distinct values.
REPEATED = ["origin", "messages.list.element.role", "messages_source.list.element.role"]
#: Rows that a writer buffers before it writes a row group, for short rows.
GROUP_ROWS = 10_000


class CorpusWriter:
    """Streams rows into one Parquet file; use as a context manager.

    The file gets its name when the block ends without an exception, and does not exist otherwise.
    `rows` counts the rows added. `extra` maps further columns to their Arrow types, e.g.
    `{"verdict": "string"}`. With `has_fields` messages have all their fields and rows their tools;
    without it those of a row that is added are dropped.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind,
        extra: dict[str, str] | None = None,
        group_characters: int = GROUP_CHARACTERS,
        has_fields: bool = False,
    ) -> None:
        self.path = path
        self.schema = make_schema(kind, extra or {}, has_fields)
        self.optional: Row = {TOOLS: None} if has_fields and kind != "pairs" else {}
        self.group_characters = group_characters
        self.rows = 0
        self._held: list[Row] = []
        self._characters = 0
        self._stack = ExitStack()
        self._file: Any = None

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        temporary = self._stack.enter_context(atomic_file(self.path))
        self._file = self._stack.enter_context(
            pq.ParquetWriter(
                temporary,
                self.schema,
                compression="zstd",
                # No dictionary for texts: it would be built and discarded.
                use_dictionary=REPEATED,
                # zstd detects three of four changed bytes; page checksums detect all.
                write_page_checksum=True,
            )
        )
        run_on_success(self._stack, self._write_group)
        return self

    def add(self, row: Row) -> None:
        """Add a row; columns not in the schema are dropped.

        Raises: KeyError if a column is missing.
        """
        row = {**self.optional, **row} if self.optional else row
        self._held.append({name: row[name] for name in self.schema.names})
        self.rows += 1
        self._characters += count_characters(row)
        if self._characters >= self.group_characters or len(self._held) >= GROUP_ROWS:
            self._write_group()

    def add_table(self, table: Any) -> None:
        """Add the rows of an Arrow table with exactly the columns of this corpus."""
        self._write_group()
        self._file.write_table(table.cast(self.schema), row_group_size=GROUP_ROWS)
        self.rows += table.num_rows

    def note(self, name: str, value: str) -> None:
        """Store a note about the shard in the footer of the file."""
        self._file.add_key_value_metadata({name: value})

    def _write_group(self) -> None:
        import pyarrow as pa

        if self._held:
            self._file.write_table(pa.Table.from_pylist(self._held, schema=self.schema))
        self._held, self._characters = [], 0

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One line of `rejected-00007.jsonl`.

    Invalid UTF-8 bytes are stored as lone surrogates (`\\udc80`), as Python's surrogateescape
    does, so that no byte of a row is lost. A `Record` could not be read back: pydantic refuses
    lone surrogates.
    """

    where: str
    """Name of the file or data set of the row."""
    line: int
    """Its line in the file, from 1."""
    reason: str
    """The reason code."""
    row: Any
    """The raw row."""
    id: str | None = None
    """Content hash of the row; None if it could not be adapted."""

    def to_json(self) -> str:
        """Format the row as a line with its line end."""
        value: dict[str, Any] = {"where": self.where, "line": self.line, "reason": self.reason}
        if self.id is not None:
            value["id"] = self.id
        return format_json_line(value | {"row": self.row})

    @classmethod
    def from_json(cls, text: str, source: object) -> Self:
        """Parse a line; `source` names its file in the error.

        Raises: UserError (BAD_DATA) if the line is damaged or has another format.
        """
        try:
            value = json.loads(text)
            return cls(
                where=value["where"],
                line=value["line"],
                reason=str(value["reason"]),
                row=value["row"],
                id=value.get("id"),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{source}: has a line that is not a rejected row ({error!r}); delete the folder "
                "of the node that wrote it and run the launch again",
                BAD_DATA,
            ) from error


class RejectWriter:
    """Streams rejected rows into a JSONL file that is complete or does not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        temporary = self._stack.enter_context(atomic_file(self.path))
        self._file = self._stack.enter_context(temporary.open("w", encoding="utf-8"))
        return self

    def add(self, row: RejectedRow) -> None:
        """Add a row."""
        self.add_line(row.to_json())

    def add_line(self, line: str) -> None:
        """Add a row as its line from `RejectedRow.to_json`, which may have been made earlier."""
        assert self._file is not None
        self._file.write(line)

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def format_json_line(value: Any) -> str:
    """Format a value as one line of valid UTF-8 JSON; unknown types become text."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = json.dumps(value, default=str)
    return text + "\n"


def count_rejected(path: Path) -> dict[str, int]:
    """Count the rejected rows of a RejectWriter file by reason."""
    with path.open(encoding="utf-8") as file:
        return dict(Counter(RejectedRow.from_json(line, path).reason for line in file))


def make_schema(kind: Kind, extra: dict[str, str], has_fields: bool = False) -> Any:
    """Return the Arrow schema of a kind of row; `has_fields` as in `CorpusWriter`."""
    import pyarrow as pa

    has_fields = has_fields and kind != "pairs"
    parts = [("role", pa.string()), ("content", pa.string())]
    parts += list(make_fields_type()) if has_fields else []
    message = pa.list_(pa.struct(parts))
    types = {"source": pa.string(), "target": pa.string()}
    fields = [("id", pa.string()), ("origin", pa.string())]
    fields += [(name, types.get(name, message)) for name in COLUMNS[kind]]
    fields += [(TOOLS, pa.string())] if has_fields else []
    return pa.schema([*fields, *((name, _column_type(alias)) for name, alias in extra.items())])


def _column_type(alias: str) -> Any:
    """Return the Arrow type of an alias such as `double` or `list<double>`."""
    import pyarrow as pa

    inner = alias.removeprefix("list<").removesuffix(">")
    return pa.type_for_alias(alias) if inner == alias else pa.list_(pa.type_for_alias(inner))


def make_fields_type() -> Any:
    """Return the Arrow type of the fields of a message beside role and content."""
    import pyarrow as pa

    return pa.struct([(name, pa.type_for_alias(alias)) for name, alias in FIELD_TYPES.items()])


def encode_hex_ids(ids: bytes) -> Any:
    """Encode ids of 16 bytes each as an Arrow array of 32 hexadecimal digits."""
    import numpy as np
    import pyarrow as pa

    digits = ids.hex().encode()
    ends: Any = np.arange(0, len(digits) + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(len(ids) // 16, pa.py_buffer(ends), pa.py_buffer(digits))
