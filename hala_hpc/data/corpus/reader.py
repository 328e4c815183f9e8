"""Read a corpus: a folder of Parquet shards `part-00007.parquet`, and rejected rows beside them.

Every row has `id` (content hash, 32 hexadecimal digits) and `origin` (name of the data set). A row
is either a conversation with `messages` (after translation also `messages_source` in the same
order), or a pair with `source` and `target`. `messages.py` describes a message.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.run import describe_result_fix
from hala_hpc.data.corpus.messages import FIELD_TYPES, drop_absent

Kind = Literal["pairs", "conversations", "translations"]
#: Columns that identify the kind of a corpus; the first match counts.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "pairs": ("source", "target"),
    "translations": ("messages", "messages_source"),
    "conversations": ("messages",),
}
#: Columns that hold lists of messages.
MESSAGE_COLUMNS = COLUMNS["translations"]
#: Column with the domain of a row, such as news; a corpus has it only if its data do.
DOMAIN = "domain"
#: Folder beside the shards with the rows that a model's stage rejected; it is a corpus itself.
REJECTED = "rejected"
#: Rows converted to Python objects at a time; this bounds the memory of a reader.
BATCH_ROWS = 256

Row = dict[str, Any]


def part_name(unit: int) -> str:
    """Return the file name of the shard that a unit writes."""
    return f"part-{unit:05d}.parquet"


def rejected_name(unit: int) -> str:
    """Return the file name for the rows that a unit rejects."""
    return f"rejected-{unit:05d}.jsonl"


def list_parts(folder: Path | str) -> list[Path]:
    """Return the shards of a corpus in order.

    Raises: UserError (NO_INPUT) if the folder does not exist, UserError (BAD_DATA) if it has no
    shards.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"corpus {folder}: there is no such folder", NO_INPUT)
    found = sorted(folder.glob("part-*.parquet"))
    if not found:
        raise UserError(
            f"corpus {folder}: is not a corpus, it has no files part-*.parquet; "
            "make a corpus from your files with a node of stage 'prepare'",
            BAD_DATA,
        )
    return found


def corpus_kind(folder: Path | str) -> Kind:
    """Return the kind of a corpus from the columns of its shards.

    Raises: UserError (BAD_DATA) if the shards are of several kinds.
    """
    kinds = {part: part_kind(part) for part in list_parts(folder)}
    if len(set(kinds.values())) > 1:
        listing = ", ".join(f"{part.name} has {kind}" for part, kind in kinds.items())
        raise UserError(f"corpus {folder}: its shards are of several kinds: {listing}", BAD_DATA)
    return next(iter(kinds.values()))


def part_kind(part: Path) -> Kind:
    """Return the kind of the rows of one shard.

    Raises: UserError (BAD_DATA) if its columns match no kind.
    """
    names = set(open_part(part).schema_arrow.names)
    for kind, columns in COLUMNS.items():
        if {"id", *columns} <= names:
            return kind
    raise UserError(
        f"corpus shard {part}: has the columns {', '.join(sorted(names)) or 'none'}; needs "
        "id and messages (conversations) or id, source and target (pairs)",
        BAD_DATA,
    )


def require_kind(folder: Path | str, *needed: Kind) -> Kind:
    """Return the kind of a corpus if it is one of `needed`; translations count as conversations.

    Raises: UserError (BAD_DATA) naming both kinds if it is another one.
    """
    kind = corpus_kind(folder)
    if kind in needed or (kind == "translations" and "conversations" in needed):
        return kind
    raise UserError(
        f"corpus {folder}: holds {kind}, but this stage needs {' or '.join(needed)}", BAD_DATA
    )


def count_rows(folder: Path | str) -> int:
    """Count the rows of a corpus from the footers of its shards."""
    return sum(count_part_rows(part) for part in list_parts(folder))


def count_part_rows(part: Path) -> int:
    """Count the rows of one shard from its footer."""
    return int(open_part(part).metadata.num_rows)


def read_part_note(part: Path, name: str) -> str:
    """Return a note that the writer of a shard put into its footer; "" if there is none."""
    notes: dict[bytes, bytes] = open_part(part).metadata.metadata or {}
    return notes.get(name.encode(), b"").decode()


def read_rows(folder: Path | str) -> Iterator[Row]:
    """Yield all rows in the order of the shards, in bounded memory."""
    for part in list_parts(folder):
        yield from read_part(part)


def read_part(part: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of one shard, with all or some columns, in bounded memory."""
    file = open_part(part)
    yield from read_row_groups(file, part, range(file.metadata.num_row_groups), columns)


def read_translation_pairs(folder: Path | str) -> Iterator[tuple[str, str, str]]:
    """Yield id, source and target of every pair; a translated conversation gives one per message.

    The id of a message is the id of its conversation, a dot and the message number from 0.
    """
    kind = require_kind(folder, "pairs", "translations")
    for part in list_parts(folder):
        for row in read_part(part, ["id", *COLUMNS[kind]]):
            if kind == "pairs":
                yield row["id"], row["source"], row["target"]
            else:
                yield from message_pairs(row)


def read_domains(folder: Path | str) -> dict[str, str]:
    """The domain of each row that has one, by its id; empty for a corpus without that column."""
    found: dict[str, str] = {}
    for part in list_parts(folder):
        if DOMAIN in open_part(part).schema_arrow.names:
            rows = read_part(part, ["id", DOMAIN])
            found |= {row["id"]: row[DOMAIN] for row in rows if row[DOMAIN]}
    return found


def message_pairs(row: Row) -> Iterator[tuple[str, str, str]]:
    """Yield the pairs of one translated conversation."""
    both = zip(row["messages_source"], row["messages"], strict=True)
    for number, (source, target) in enumerate(both):
        yield f"{row['id']}.{number}", source["content"], target["content"]


def open_part(part: Path) -> Any:
    """Open a shard as a pyarrow ParquetFile.

    Raises: UserError (BAD_DATA) if the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(part, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        # An OSError with an errno does not mean that the file is damaged. Arrow names the file
        # only in the text of its error.
        if isinstance(error, OSError) and error.errno is not None:
            refused = OSError(error.errno, os.strerror(error.errno), str(part))
            raise convert_os_error(refused) from error
        raise torn_part_error(part, error) from error


def read_row_groups(
    file: Any, part: Path, groups: Sequence[int], columns: Sequence[str] | None
) -> Iterator[Row]:
    """Yield the rows of some row groups.

    Raises: UserError (BAD_DATA) if their data is damaged.
    """
    batches = file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups, columns=columns)
    for batch in guard_batches(batches, part):
        lists = [name for name in MESSAGE_COLUMNS if has_fields(batch.schema, name)]
        for row in batch.to_pylist():
            for name in lists:
                row[name] = list(map(drop_absent, row[name]))
            yield row


def has_fields(schema: Any, column: str) -> bool:
    """Whether the messages of a column have fields beside role and content."""
    if column not in schema.names:
        return False
    message = schema.field(column).type.value_type
    return any(message.get_field_index(name) >= 0 for name in FIELD_TYPES)


def part_has_fields(part: Path) -> bool:
    """Whether a shard has columns for fields of messages beside role and content."""
    return has_fields(open_part(part).schema_arrow, MESSAGE_COLUMNS[0])


def read_batches(part: Path, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[Any]:
    """Yield some columns of one shard as Arrow record batches.

    Raises: UserError (BAD_DATA) if the file is damaged.
    """
    return guard_batches(open_part(part).iter_batches(batch_rows, columns=columns), part)


def guard_batches(batches: Iterator[Any], part: Path) -> Iterator[Any]:
    """Yield the batches of a shard unchanged.

    Raises: UserError (BAD_DATA) if their data is damaged.
    """
    import pyarrow as pa

    try:
        yield from batches
    except (pa.ArrowException, OSError, ValueError) as error:
        raise torn_part_error(part, error) from error


def torn_part_error(part: Path, error: Exception) -> UserError:
    """Make the error for a shard that was truncated or changed."""
    size, reason = part.stat().st_size, " ".join(str(error).split())
    return UserError(
        f"corpus shard {part}: cannot be read ({size} bytes; {reason}); "
        f"{describe_result_fix(part)}",
        BAD_DATA,
    )


def count_characters(row: Row) -> int:
    """Count the characters in the texts of a row, at least 1."""
    total = 1
    for value in row.values():
        if isinstance(value, str):
            total += len(value)
        elif isinstance(value, list):
            total += sum(
                len(m["content"]) + len(m.get("tool_calls") or "") + 64
                for m in value
                if isinstance(m, dict)
            )
    return total
