"""Spill adapted rows to disk, in one Arrow file for each input split.

Decisions over all rows (duplicates, shards) need only ids and sizes, so the texts are spilled and
never in memory together. A row keeps its position in the split: rejected rows are in the file as
well, without content.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, Self

from hala_hpc.core.files import run_on_success
from hala_hpc.data.corpus.messages import NO_FIELDS, TOOLS, MessageFields
from hala_hpc.data.corpus.reader import DOMAIN, Kind
from hala_hpc.data.corpus.writer import (
    RejectedRow,
    format_json_line,
    make_fields_type,
    make_schema,
)
from hala_hpc.data.ingest.adapt import AdaptedRow, RowFormat, adapt_row
from hala_hpc.data.ingest.fast_path import QuestionBatch, fast_path_fields, read_question_batch
from hala_hpc.data.ingest.named_fields import NamedFields
from hala_hpc.data.ingest.quality_settings import QualitySearches
from hala_hpc.data.ingest.row_features import BatchTexts, RowFeatures
from hala_hpc.data.ingest.splits import BufferedSplit, InputSplit
from hala_hpc.data.readers.adapters import Adapter
from hala_hpc.data.readers.json_lines import LineRange, read_chunks
from hala_hpc.data.readers.records import InputRecord

#: Batches of a file that are read back at a time, each of a few MB. For columns of more than 32 MB
#: glibc asks the kernel for new memory each time.
TABLE_BATCHES = 2
#: Bytes of text and rows that are buffered as objects before writing: a few tens of MB.
BATCH_BYTES = 4_000_000
#: Column with the fields of all messages of a row beside role and content; null for most rows.
FIELDS = "fields"
#: Column with the kind of damage that the translation of a row got.
DAMAGE = "damage"
BATCH_ROWS = 5_000


@dataclass(frozen=True)
class SplitTask:
    """A split to be read, as names and plain values, so that it can be pickled."""

    split: InputSplit
    where: str
    origin: str
    adapter: str
    row_format: RowFormat
    file: Path
    searches: QualitySearches = dataclass_field(default_factory=QualitySearches)
    """What is computed of each row for searches over all rows."""

    @property
    def kind(self) -> Kind:
        """The kind of the adapted rows."""
        return self.row_format.adapters[self.adapter].kind


@dataclass(frozen=True)
class SpilledSplit:
    """A split that was read: the file with its rows, and their number."""

    file: Path
    where: str
    kind: Kind
    split: InputSplit | None
    """To read a raw row again; None if the file holds the raw rows too."""
    rows: int
    reasons: dict[str, int]
    """Rows by reason; accepted rows under ""."""
    named: NamedFields = dataclass_field(default_factory=NamedFields)
    has_fields: bool = False
    """Whether a message of an accepted row has fields beside role and content, or a row tools."""
    has_domains: bool = False
    """Whether an accepted row has a domain."""

    def columns(self, *names: str) -> Any:
        """Read some columns of all rows; other columns are not read."""
        import pyarrow as pa

        fields = [make_spill_schema(self.kind).get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        with pa.OSFile(str(self.file)) as opened:
            table = pa.ipc.open_file(opened, options=options).read_all()
        return table.slice(0, self.rows).combine_chunks()

    def tables(self) -> Iterator[Any]:
        """Yield all columns, some rows at a time."""
        import pyarrow as pa

        left = self.rows
        with pa.OSFile(str(self.file)) as opened:
            file = pa.ipc.open_file(opened)
            for first in range(0, file.num_record_batches, TABLE_BATCHES):
                last = min(first + TABLE_BATCHES, file.num_record_batches)
                batches = [file.get_batch(number) for number in range(first, last)]
                table = pa.Table.from_batches(batches).slice(0, left)
                left -= table.num_rows
                # One chunk: for several, pyarrow takes lists fifteen times as slowly.
                yield table.combine_chunks()

    def cut(self, rows: int) -> "SpilledSplit":
        """Return the split with its first rows only."""
        import pyarrow.compute as pc

        counts = pc.value_counts(self.columns("reason")["reason"].slice(0, rows)).to_pylist()
        reasons = {count["values"]: count["counts"] for count in counts}
        return replace(self, rows=rows, reasons=reasons)

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Yield the raw rows with these indexes from 0, in order."""
        if self.split is not None:
            return self.split.raws(wanted)
        raws = self.columns("raw")["raw"].take(wanted).to_pylist() if wanted else []
        return map(json.loads, raws)


def spill_split(task: SplitTask) -> SpilledSplit:
    """Adapt the rows of a split and write them to its file."""
    use_system_memory_pool()
    adapter = task.row_format.adapters[task.adapter]
    keeps_raw = isinstance(task.split, BufferedSplit)
    named, asks = NamedFields(), bool(task.row_format.named_fields)
    with SpillWriter(task.file, task.kind, keeps_raw, task.searches) as writer:
        for part, line, batch in read_parts(task, adapter):
            if batch is not None:
                writer.add_questions(line, task.origin, batch)
                # A batch has rows only that have the two fields which may be renamed.
                named.fields.update(task.row_format.rename)
                continue
            for record in part.records():
                if asks and record.value is not None:
                    named.add(record.value, task.row_format)
                writer.add(record, adapt_row(record, task.origin, adapter, task.row_format))
    split = None if keeps_raw else task.split
    reasons = dict(writer.reasons)
    rows = sum(reasons.values())
    return SpilledSplit(
        task.file,
        task.where,
        task.kind,
        split,
        rows,
        reasons,
        named,
        writer.has_fields,
        writer.has_domains,
    )


def read_parts(
    task: SplitTask, adapter: Adapter
) -> Iterator[tuple[InputSplit, int, QuestionBatch | None]]:
    """Yield the parts of a split in order with line number, and the batch if the fast path fits."""
    fields, split = fast_path_fields(adapter.question, task.row_format), task.split
    if fields is None or not isinstance(split, LineRange):
        yield split, 1, None
        return
    for part, data in read_chunks(split):
        yield part, part.line, read_question_batch(data, fields) if data else None


def use_system_memory_pool() -> None:
    """Let Arrow allocate from the C library, which keeps freed memory.

    pyarrow's default pool returns memory to the kernel at once; half of the writing time went into
    allocating it again.
    """
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())


def make_spill_schema(kind: Kind) -> Any:
    """Return the schema of a file of adapted rows."""
    import pyarrow as pa

    types = {"line": pa.int64(), "id": pa.binary(16), "size": pa.int64()}
    types |= {"reason": pa.string(), "raw": pa.string()}
    fields = {} if kind == "pairs" else {FIELDS: pa.list_(make_fields_type()), TOOLS: pa.string()}
    extra = {DOMAIN: pa.string(), DAMAGE: pa.string()}
    content = list(make_schema(kind, {}))[1:]
    return pa.schema([*types.items(), *content, *fields.items(), *extra.items()])


class SpillWriter:
    """Streams the rows of one split into its file; use as a context manager.

    `reasons` counts the rows added, accepted rows under "". With `keeps_raw` the file also holds
    accepted rows in raw form.
    """

    def __init__(self, path: Path, kind: Kind, keeps_raw: bool, searches: QualitySearches) -> None:
        self.path, self.kind, self.keeps_raw = path, kind, keeps_raw
        self.features = RowFeatures(path, searches)
        self.schema = make_spill_schema(kind)
        self.reasons: Counter[str] = Counter()
        self.has_fields = self.has_domains = False
        self._stack = ExitStack()
        self._file: Any = None
        self._clear()

    def _clear(self) -> None:
        """Start a new batch."""
        self.bytes = 0
        self.lines: list[int] = []
        self.ids: list[bytes | None] = []
        self.sizes: list[int] = []
        self.row_reasons: list[str] = []
        self.raws: list[str | None] = []
        self.origins: list[str] = []
        self.roles: list[str] = []
        self.texts: list[str | None] = []
        self.fields: list[list[dict[str, Any]] | None] = []
        self.tools: list[str | None] = []
        self.domains: list[str | None] = []
        self.damages: list[str | None] = []
        self.ends = [0]

    def __enter__(self) -> Self:
        import pyarrow as pa

        self._stack.enter_context(self.features)
        self._file = self._stack.enter_context(pa.ipc.new_file(str(self.path), self.schema))
        run_on_success(self._stack, self._write)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, record: InputRecord, adapted: AdaptedRow) -> None:
        """Add a row; a rejected row is stored as its line of the rejected file."""
        origin, reason, name, size, roles, texts, fields, tools, domain, damage = adapted
        self.reasons[reason] += 1
        raw = None
        if not reason:
            self.roles += roles
            self.texts += texts
            self.has_fields |= bool(fields or tools)
            if self.keeps_raw:
                raw = format_json_line(record.decoded_raw)
        else:
            row_id = name.hex() if name else None
            raw = RejectedRow(
                record.where, record.line, reason, record.decoded_raw, row_id
            ).to_json()
            if self.kind == "pairs":
                self.texts += [None, None]
        self.ends.append(len(self.texts))
        self.lines.append(record.line)
        self.ids.append(name)
        self.sizes.append(size)
        self.row_reasons.append(reason)
        self.raws.append(raw)
        self.origins.append(origin)
        self.fields.append(None if reason else self.filled_fields(fields, tools, len(roles)))
        self.tools.append(None if reason else tools or None)
        self.domains.append(None if reason else domain)
        self.damages.append(None if reason else damage)
        self.has_domains |= bool(domain and not reason)
        self.bytes += size + (len(raw) if raw else 0)
        self._added()

    def filled_fields(
        self, fields: Sequence[MessageFields], tools: str, messages: int
    ) -> list[dict[str, Any]] | None:
        """Return the fields of each message of a row; None if it has neither them nor tools."""
        if not fields and not tools:
            return None
        return [values._asdict() for values in fields or [NO_FIELDS] * messages]

    def add_questions(self, line: int, origin: str, batch: QuestionBatch) -> None:
        """Add accepted rows that are on consecutive lines from `line`."""
        systems, questions, answers = batch.systems, batch.questions, batch.answers
        at = len(self.texts)
        for system, *texts in zip(systems, questions, answers, strict=True):
            if system:
                self.roles += ("system", "user", "assistant")
                self.texts += (system, *texts)
                at += 3
            else:
                self.roles += ("user", "assistant")
                self.texts += texts
                at += 2
            self.ends.append(at)
        count = len(batch.ids)
        self.lines += range(line, line + count)
        self.ids += batch.ids
        self.sizes += batch.sizes
        self.row_reasons += [""] * count
        self.raws += [None] * count
        self.origins += [origin] * count
        self.fields += [None] * count
        self.tools += [None] * count
        self.domains += [None] * count
        self.damages += [None] * count
        self.bytes += sum(batch.sizes)
        self.reasons[""] += count
        self._added()

    def _added(self) -> None:
        if self.bytes >= BATCH_BYTES or len(self.lines) >= BATCH_ROWS:
            self._write()

    def _write(self) -> None:
        self._file.write_table(self.table())
        self.features.add(BatchTexts(self.row_reasons, self.roles, self.texts, self.ends))
        self._clear()

    def table(self) -> Any:
        """Return the buffered rows as Arrow columns."""
        import pyarrow as pa

        columns = self.lines, self.ids, self.sizes, self.row_reasons, self.raws, self.origins
        arrays = [
            pa.array(values, field.type)
            for values, field in zip(columns, self.schema, strict=False)
        ]
        extra = [pa.array(values, pa.string()) for values in (self.domains, self.damages)]
        return pa.Table.from_arrays([*arrays, *self.content(), *extra], schema=self.schema)

    def content(self) -> list[Any]:
        """Return the columns of the texts."""
        import pyarrow as pa

        texts = pa.array(self.texts, pa.string())
        if self.kind == "pairs":
            return [texts[0::2], texts[1::2]]
        turns = pa.StructArray.from_arrays(
            [pa.array(self.roles, pa.string()), texts], names=["role", "content"]
        )
        return [
            pa.ListArray.from_arrays(pa.array(self.ends, pa.int32()), turns),
            pa.array(self.fields, self.schema.field(FIELDS).type),
            pa.array(self.tools, pa.string()),
        ]
