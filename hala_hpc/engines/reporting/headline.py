"""What was made and what it is worth: sentences and the table of scores at the top of the page."""

from collections.abc import Mapping, Sequence

from hala_hpc.engines.evaluation.report import DASH, Table, format_count
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import PageTable
from hala_hpc.engines.reporting.safe_text import file_stem, format_sentence
from hala_hpc.engines.reporting.score_rows import (
    LOWER_IS_BETTER,
    ScoreCell,
    ScoreRow,
    ScoreTable,
    format_cell,
    is_better,
)

#: Scores of others by label of their model, then by name of the row.
Published = Mapping[str, Mapping[str, float]]

SCORE_NOTE = (
    "Brackets: the 95 % interval of a score, the range in which it would probably fall with other "
    "questions of the same kind. Bold: better than all other columns, by intervals that do not "
    "overlap; where no cell of a row is bold, its best model is not resolvable. Shares of correct "
    "answers are in percent. BLEU, chrF++ and ROUGE-L say from 0 to 100 how far translations agree "
    "with reference translations; TER says how much of them would have to be changed. Samples: "
    "questions or sentences."
)
#: Sentences about stages: what was done with rows.
DONE_WITH_ROWS = {
    "prepare": "were prepared",
    "translate": "were translated",
    "filter": "were judged",
}


def describe_run(nodes: Sequence[NodeFacts], tables: Sequence[ScoreTable]) -> list[str]:
    """Sentences about a run for somebody who does not know it; names in them are isolated."""
    done = [node for node in nodes if node.is_done]
    texts: list[str] = [f"{len(done)} of {len(nodes)} steps of this run are complete."]
    for stage, verb in DONE_WITH_ROWS.items():
        summaries = [node.summary for node in done if node.stage == stage and node.summary]
        if rows := sum(one.rows_in for one in summaries):
            accepted = sum(one.rows_out for one in summaries)
            texts.append(f"{rows:,} rows {verb}; {accepted:,} of them were accepted.")
    models = [node.name for node in done if node.stage in ("sft", "merge")]
    if models:
        verb = "Models that were made" if len(models) > 1 else "The model that was made"
        texts.append(format_sentence(f"{verb}: {', '.join(['{}'] * len(models))}.", *models))
    return [*texts, *(text for table in reversed(tables) for text in describe_scores(table))]


def describe_scores(table: ScoreTable) -> list[str]:
    """The last model against the first one in the most telling row, as a sentence."""
    row = table.mean_row or next(iter(table.headline_rows), None)
    if row is None or len(table.labels) < 2:
        return []
    first, last = table.labels[0], table.labels[-1]
    if first not in row.cells or last not in row.cells:
        return []
    before, after = row.cells[first], row.cells[last]
    change = "higher" if after.value > before.value else "lower"
    difference = f"{abs(after.value - before.value):.1f}"
    form = "In {}, {}: {} has {} and {} has {}."
    if difference != "0.0":
        form += f" That is {difference} {change}, {describe_resolution(row, before, after)}."
    names = (table.node, row.title, last, after.format(), first, before.format())
    return [format_sentence(form, *names)]


def describe_resolution(row: ScoreRow, before: ScoreCell, after: ScoreCell) -> str:
    """Whether chance may explain the difference of two scores."""
    if not (before.has_interval and after.has_interval):
        return "without an interval, so that chance cannot be ruled out here"
    is_lower_better = row.metric in LOWER_IS_BETTER
    if is_better(after, before, is_lower_better) or is_better(before, after, is_lower_better):
        return "more than chance explains, as their intervals do not overlap"
    return "which this table alone cannot tell from chance, as their intervals overlap"


def make_headline_table(table: ScoreTable, published: Published, note: str = "") -> PageTable:
    """The table at the top for one evaluation, published figures in columns of their own."""
    rows = table.headline_rows
    if (mean := table.mean_row) is not None:
        rows = [*rows, mean]
    others = {
        label: values
        for label, values in published.items()
        if any(row.name in values or row.task in values for row in rows)
    }
    columns = ["score", *table.labels, *(f"{label} (published)" for label in others), "samples"]
    cells = [
        [
            row.title,
            *score_cells(table, row),
            *(format_published(values, row) for values in others.values()),
            format_count(row.samples),
        ]
        for row in rows
    ]
    first_published = 1 + len(table.labels)
    return PageTable(
        f"scores-{file_stem(table.node)}",
        Table(f"Scores of {table.node}", columns, cells, note),
        *score_data(rows),
        best=best_cells(table, rows),
        published_columns=frozenset(range(first_published, first_published + len(others))),
    )


def score_cells(table: ScoreTable, row: ScoreRow) -> list[str]:
    """The scores of a row, one for each model of the table."""
    return [format_cell(row.cells.get(label)) for label in table.labels]


def best_cells(table: ScoreTable, rows: Sequence[ScoreRow]) -> frozenset[tuple[int, int]]:
    """Row and column of the best model of each row; the first column has the name of the score."""
    return frozenset(
        (number, 1 + table.labels.index(row.best)) for number, row in enumerate(rows) if row.best
    )


def format_published(values: Mapping[str, float], row: ScoreRow) -> str:
    """A published figure for a row, by the name of its score or of its task."""
    value = values.get(row.name, values.get(row.task))
    return DASH if value is None else f"{value:.1f}"


def score_data(rows: Sequence[ScoreRow]) -> tuple[list[list[object]], list[str]]:
    """The same with full precision, a line for each score of each model."""
    columns = ["score", "model", "value", "low", "high", "samples"]
    data: list[list[object]] = [
        [row.name, label, cell.value, cell.low, cell.high, row.samples]
        for row in rows
        for label, cell in row.cells.items()
    ]
    return data, columns


def make_all_scores_table(table: ScoreTable) -> PageTable | None:
    """The rows that are not in the headline; None if all are."""
    shown = {row.name for row in table.headline_rows}
    rows = [row for row in table.rows if row.name not in shown]
    if not rows:
        return None
    cells = [[row.title, *score_cells(table, row), format_count(row.samples)] for row in rows]
    columns = ["score", *table.labels, "samples"]
    return PageTable(
        f"all-scores-{file_stem(table.node)}",
        Table(f"Parts of the scores of {table.node}", columns, cells),
        *score_data(rows),
        best=best_cells(table, rows),
    )
