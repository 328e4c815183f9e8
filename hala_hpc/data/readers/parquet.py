"""Read rows of Parquet and Arrow files and of data sets on the hub, each with its number from 1."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UNAVAILABLE, TransientError, UserError
from hala_hpc.data.corpus.reader import BATCH_ROWS
from hala_hpc.data.readers.csv_rows import repeated_column_error
from hala_hpc.data.readers.records import InputRecord, broken_file_error

#: Bytes of each column that are buffered at a time.
BUFFER_BYTES = 1024 * 1024
#: First bytes of an Arrow file; a stream lacks them.
ARROW_MAGIC = b"ARROW1"


def parquet_rows(path: Path) -> Iterator[InputRecord]:
    """Read the rows of a Parquet file in bounded memory.

    Raises: UserError (BAD_DATA) if the file is damaged.
    """
    for group in row_groups(path):
        yield from group.records()


@dataclass(frozen=True)
class RowGroup:
    """One row group of a Parquet file."""

    path: Path
    group: int
    line: int
    """Number of its first row, from 1."""

    def records(self) -> Iterator[InputRecord]:
        """Yield the records of the row group.

        Raises: UserError (BAD_DATA) if the file is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        line = self.line - 1
        try:
            # Buffered: a row group may be larger than memory.
            with pq.ParquetFile(self.path, buffer_size=BUFFER_BYTES) as file:
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[self.group]):
                    yield from batch_records(batch, str(self.path), line)
                    line += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise broken_file_error(self.path, f"row {line}", str(error)) from error

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Yield the raw rows with these indexes from 0 in the row group, in order."""
        numbers = set(wanted)
        return (record.raw for n, record in enumerate(self.records()) if n in numbers)


def row_groups(path: Path) -> Iterator[RowGroup]:
    """Yield the row groups of a Parquet file.

    Raises: UserError (BAD_DATA) if the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    except (pa.ArrowInvalid, OSError) as error:
        raise broken_file_error(path, "its start", str(error)) from error
    line = 1
    for number, rows in enumerate(sizes):
        yield RowGroup(path, number, line)
        line += rows


def arrow_rows(path: Path) -> Iterator[InputRecord]:
    """Read the rows of an Arrow file, as `datasets` saves and caches them, in bounded memory.

    Raises: UserError (BAD_DATA) if the file is damaged.
    """
    import pyarrow as pa

    line = 0
    try:
        with pa.memory_map(str(path)) as file:
            for batch in arrow_batches(file):
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    few = batch.slice(start, BATCH_ROWS)
                    yield from batch_records(few, str(path), line)
                    line += few.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise broken_file_error(path, f"row {line}", str(error)) from error


def arrow_batches(file: Any) -> Iterator[Any]:
    """Yield the batches of an Arrow file, or of an Arrow stream."""
    import pyarrow as pa

    if file.read(len(ARROW_MAGIC)) == ARROW_MAGIC:
        opened = pa.ipc.open_file(file)
        return (opened.get_batch(number) for number in range(opened.num_record_batches))
    file.seek(0)
    return iter(pa.ipc.open_stream(file))


def batch_records(batch: Any, where: str, line: int) -> Iterator[InputRecord]:
    """Yield the records of a batch; a value that cannot be converted spoils no other row.

    Invalid UTF-8 rejects its row. Other values that Python lacks, such as a date after the year
    9999, are given as text: no row format reads such columns.

    Raises: UserError (BAD_DATA) if two columns have one name.
    """
    names = batch.schema.names
    for name in names:
        if names.count(name) > 1:
            raise repeated_column_error(where, name)
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError, ArithmeticError):
        for number in range(batch.num_rows):
            yield row_record(batch.slice(number, 1), where, line + number + 1)
        return
    for number, row in enumerate(rows, start=line + 1):
        yield InputRecord(where, number, row, row)


def row_record(batch: Any, where: str, line: int) -> InputRecord:
    """Return the record of a batch of one row, some of whose values cannot be converted."""
    raw = {name: decode_scalar(batch.column(name)[0]) for name in batch.schema.names}
    try:
        json.dumps(raw, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return InputRecord(where, line, raw, None, "bad-utf8")
    return InputRecord(where, line, raw, raw)


def decode_scalar(scalar: Any) -> Any:
    """Convert an Arrow scalar to Python; invalid UTF-8 bytes become lone surrogates.

    A value that Python lacks becomes text.
    """
    import pyarrow as pa

    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StructScalar):
        return {name: decode_scalar(item) for name, item in scalar.items()}
    if isinstance(scalar, pa.ListScalar):
        return [decode_scalar(item) for item in scalar.values]
    if isinstance(scalar, pa.StringScalar | pa.LargeStringScalar):
        return scalar.as_buffer().to_pybytes().decode(errors="surrogateescape")
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, ArithmeticError):
        return f"{scalar.type} {getattr(scalar, 'value', '')}".strip()


def hub_rows(
    name: str, split: str, subset: str | None, revision: str | None
) -> Iterator[InputRecord]:
    """Stream the rows of a data set on the hub.

    Raises: UserError (UNAVAILABLE) if the hub or the data set cannot be reached, UserError
    (BAD_DATA) if the data set has no such split or subset, TransientError if the connection
    breaks later.
    """
    import datasets

    try:
        data = datasets.load_dataset(name, subset, split=split, revision=revision, streaming=True)
        rows = iter(data)
        first = next(rows, None)
    except (OSError, datasets.exceptions.DatasetsError) as error:
        raise unreachable_dataset_error(name, summarize_error(error)) from error
    except ValueError as error:
        raise UserError(
            f"data set {name}: {error}; set `subset` and `split` to existing ones", BAD_DATA
        ) from error
    if first is not None:
        yield InputRecord(name, 1, first, first)
    try:
        for number, row in enumerate(rows, start=2):
            yield InputRecord(name, number, row, row)
    except OSError as error:
        raise TransientError(
            f"data set {name}: the connection to the hub broke: {error}"
        ) from error


def summarize_error(error: Exception) -> str:
    """Return the type and the first line of a library's exception."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}"


def unreachable_dataset_error(reference: str, reason: str) -> UserError:
    """Make the error for a missing data set; it says how to fetch it for an offline machine."""
    return UserError(
        f"data set {reference}: there is no such file or folder, and it cannot be reached on the "
        f"hub ({reason}); fetch it on the login node: run `python -m hala_hpc.fetch` with the "
        "arguments of the launch, then run the launch again",
        UNAVAILABLE,
    )
