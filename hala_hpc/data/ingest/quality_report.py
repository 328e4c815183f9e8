"""What the searches of `prepare` found, for the summary and the report."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from hala_hpc.data.ingest.contamination import SearchedBenchmark
from hala_hpc.data.ingest.row_searches import ListedMatch, RowSearches
from hala_hpc.data.ingest.shard_plan import ShardPlan
from hala_hpc.data.ingest.spill import DAMAGE, SpilledSplit

#: Characters of a text that are shown.
SHOWN_CHARACTERS = 200


class ListedRow(BaseModel):
    """A row that was found, and what it is similar to."""

    model_config = ConfigDict(frozen=True)

    reason: str
    row: str
    """File and line."""
    text: str
    """The start of its question or source."""
    match: str
    """File and line of the earlier row, or of the benchmark's text."""
    match_text: str
    """The start of the earlier row, or the words that the benchmark shares."""
    similarity: float | None = None


class QualityReport(BaseModel):
    """The rows that were found, whether rejected or only counted."""

    model_config = ConfigDict(frozen=True)

    found: dict[str, int]
    """Rows by reason. A row may be found for several; its rejection has one."""
    benchmarks: list[SearchedBenchmark]
    listed: list[ListedRow]
    """The first rows of each search."""


def make_quality_report(
    searches: RowSearches, benchmarks: list[SearchedBenchmark]
) -> QualityReport:
    """Make the report of finished searches."""
    found = {reason: count for reason, count in searches.counts.items() if count}
    listed = [list_row(searches, each) for each in searches.listed()]
    return QualityReport(found=found, benchmarks=benchmarks, listed=listed)


def count_damage(plan: ShardPlan, splits: Sequence[SpilledSplit]) -> dict[str, int]:
    """Number of accepted rows by the kind of damage that their translations got."""
    counts: Counter[str] = Counter()
    for split, places in plan.by_split(splits):
        kinds = split.columns(DAMAGE)[DAMAGE].filter(places >= 0).drop_null()
        counts.update(kinds.to_pylist())
    return dict(sorted(counts.items()))


def list_row(searches: RowSearches, found: ListedMatch) -> ListedRow:
    """Look up the texts of a row that was found."""
    split, row = searches.split_at(found.position)
    line, text = read_row_start(split, row)
    match_text = found.match.text
    if found.earlier is not None:
        match_text = read_row_start(*searches.split_at(found.earlier))[1]
    return ListedRow(
        reason=found.reason,
        row=f"{split.where}, line {line}",
        text=text,
        match=f"{found.match.where}, line {found.match.line}",
        match_text=match_text,
        similarity=found.match.similarity,
    )


def read_row_start(split: SpilledSplit, row: int) -> tuple[int, str]:
    """Return the line of a row of a split, and the start of its question or source."""
    import pyarrow as pa

    with pa.OSFile(str(split.file)) as opened:
        file = pa.ipc.open_file(opened)
        for number in range(file.num_record_batches):
            batch: Any = file.get_batch(number)
            if row < batch.num_rows:
                value = batch.slice(row, 1).to_pylist()[0]
                return value["line"], start_of(value)[:SHOWN_CHARACTERS]
            row -= batch.num_rows
    raise IndexError(row)


def start_of(value: dict[str, Any]) -> str:
    """Return the first text of a spilled row that is no system prompt."""
    if "source" in value:
        return str(value["source"])
    texts = (each["content"] for each in value["messages"] if each["role"] != "system")
    return str(next(filter(None, texts), ""))
