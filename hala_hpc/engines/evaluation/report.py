"""What a report shows, made of the summaries of nodes: tables and loss curves, no markup."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from hala_hpc.core.errors import UserError
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.records import NodeSummary
from hala_hpc.core.stage_registry import find_stage

#: Letters of a commit that tell it from all others.
COMMIT_LETTERS = 12
#: Metrics of translation; every other score is a benchmark's.
TRANSLATION = {"bleu": "BLEU", "chrf++": "chrF++", "rouge_l": "ROUGE-L"}
#: What stands where a figure is missing.
DASH = "–"


@dataclass(frozen=True)
class Table:
    """A heading, the names of columns, rows of text, and a line below."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    text_columns: tuple[int, ...] = (0,)

    def is_text_column(self, column: int) -> bool:
        """Whether a column holds words, which stand to the left, and no numbers."""
        return column in self.text_columns


class CurvePoint(JsonRecord):
    """The mean of some steps of a training."""

    step: int
    """The last of them."""
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Curve:
    """The points of one training."""

    name: str
    points: tuple[CurvePoint, ...]

    @classmethod
    def of(cls, name: str, points: Sequence[object]) -> Self:
        """A curve of the figures in the summary of a training."""
        return cls(name, tuple(CurvePoint.model_validate(point) for point in points))

    @property
    def good(self) -> list[tuple[float, float]]:
        """Step and loss of every point that has a finite loss."""
        known = [(p.step, p.loss) for p in self.points if p.loss is not None]
        return [(float(step), loss) for step, loss in known if math.isfinite(loss)]

    @property
    def steps(self) -> tuple[float, float]:
        """First and last step."""
        steps = [step for step, _ in self.good] or [0.0]
        return steps[0], steps[-1]

    @property
    def losses(self) -> tuple[float, float]:
        """Lowest and highest loss."""
        losses = [loss for _, loss in self.good] or [0.0]
        return min(losses), max(losses)


@dataclass(frozen=True)
class ReportPage:
    """A report before it becomes HTML or Markdown."""

    title: str
    tables: list[Table] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


def make_report_page(title: str, summaries: Sequence[NodeSummary]) -> ReportPage:
    """Everything worth showing of some nodes, in the order of the nodes."""
    tables = [table for summary in summaries for table in score_tables(summary)]
    tables += [rows_table(summaries), reasons_table(summaries), models_table(summaries)]
    tables.append(provenance_table(summaries))
    trained = [s for s in summaries if stage_details(s).get("curve")]
    curves = [Curve.of(s.node, stage_details(s)["curve"]) for s in trained]
    return ReportPage(title, [table for table in tables if table.rows], curves)


def rows_table(summaries: Sequence[NodeSummary]) -> Table:
    """Where every row went, and how fast."""
    columns = ["node", "stage", "units", "rows in", "rows out", "rejected"]
    columns += ["tokens in", "tokens out", "seconds", "tokens/s"]
    rows = []
    for s in summaries:
        tokens = s.tokens_out or s.tokens_in
        speed = tokens / s.seconds if tokens and s.seconds else None
        counts = (s.units, s.rows_in, s.rows_out, s.rows_rejected, s.tokens_in, s.tokens_out)
        rows.append(
            [s.node, s.stage, *map(format_count, counts), f"{s.seconds:,.1f}", format_count(speed)]
        )
    note = (
        "Seconds are those of all workers added up. Tokens/s counts the tokens that a stage wrote, "
        "or read where it writes none."
    )
    return Table("Rows and time of each node", columns, rows, note, (0, 1))


def reasons_table(summaries: Sequence[NodeSummary]) -> Table:
    """Why rows were rejected."""
    rows = [
        [s.node, reason, format_count(number)]
        for s in summaries
        for reason, number in sorted(s.rejected.items())
    ]
    return Table("Rejected rows by reason", ["node", "reason", "rows"], rows, "", (0, 1))


def models_table(summaries: Sequence[NodeSummary]) -> Table:
    """What was done to each model."""
    lines = {s.node: summary_line(s) for s in summaries}
    rows = [[node, text] for node, text in lines.items() if text]
    return Table("Models", ["node", "what was done"], rows, "", (0, 1))


def summary_line(summary: NodeSummary) -> str:
    """What the stage of a node tells of its model; of one that is gone or changed, just that."""
    try:
        stage = find_stage(summary.stage, summary.stage_source)
    except UserError as error:
        return str(error)
    return stage.summary_line(stage_details(summary))


def provenance_table(summaries: Sequence[NodeSummary]) -> Table:
    """What made each result: fingerprint, code and libraries."""
    rows = [
        [
            s.node,
            s.fingerprint or DASH,
            shorten_commits(s.commit) or DASH,
            ", ".join(f"{k} {v}" for k, v in sorted(s.versions.items())) or DASH,
        ]
        for s in summaries
    ]
    columns = ["node", "fingerprint", "commit", "versions"]
    return Table("How it was made", columns, rows, "", (0, 1, 2, 3))


def shorten_commits(commits: str) -> str:
    """`6d78d78c0ffe+, 60e2239...` of whole commits; `+` stays: files were others than its own."""
    found = (one.partition("+") for one in commits.split(", "))
    return ", ".join(name[:COMMIT_LETTERS] + plus for name, plus, _ in found)


def score_tables(summary: NodeSummary) -> list[Table]:
    """Translation and benchmark scores of one evaluation, a column for each model."""
    by_label = stage_details(summary).get("scores")
    if not isinstance(by_label, dict):
        return []
    names = list(dict.fromkeys(name for scores in by_label.values() for name in scores))
    node = summary.node
    translation_names = [name for name in names if name in TRANSLATION]
    benchmark_names = [name for name in names if name not in TRANSLATION]
    return [
        make_score_table(f"Translation ({node})", summary, translation_names),
        make_score_table(f"Benchmarks ({node})", summary, benchmark_names),
    ]


def make_score_table(title: str, summary: NodeSummary, names: Sequence[str]) -> Table:
    """Scores side by side; from the second model on with the difference to the first."""
    found = stage_details(summary)
    labels = list(found["scores"])
    rows = []
    for name in names:
        values = [found["scores"][label].get(name) for label in labels]
        errors = [found.get("errors", {}).get(label, {}).get(name) for label in labels]
        cells = [
            format_score(value, error, None if column == 0 else values[0])
            for column, (value, error) in enumerate(zip(values, errors, strict=True))
        ]
        samples = found.get("samples", {}).get(labels[0], {})
        size = samples.get(name, samples.get(name.partition("/")[0]))
        rows.append([TRANSLATION.get(name, name), *cells, format_count(size)])
    return Table(title, ["score", *labels, "samples"], rows, join_signatures(found, names))


def format_score(value: float | None, error: float | None, first: float | None) -> str:
    """A score, its standard error, and how much it is above the first model's."""
    if value is None:
        return DASH
    text = format_decimals(value)
    if error is not None:
        text += f" ± {format_decimals(error)}"
    if first is not None:
        # As many digits as the scores: benchmarks count from 0 to 1, translation to 100.
        text += f" ({'+' if value >= first else '−'}{format_decimals(abs(value - first))})"
    return text


def format_decimals(value: float) -> str:
    """Two digits for scores up to 100, four for those up to 1."""
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}"


def join_signatures(found: dict[str, Any], names: Iterable[str]) -> str:
    """How the scores were made, each once."""
    by_label = found.get("signatures", {})
    texts = [f"{n}: {s[n]}" for s in by_label.values() for n in names if n in s]
    return "; ".join(dict.fromkeys(texts))


def stage_details(summary: NodeSummary) -> dict[str, Any]:
    """The stage's own part of a summary: its figures."""
    return summary.details if isinstance(summary.details, dict) else {}


def format_count(value: float | None) -> str:
    """A number with separators; a dash for none."""
    return DASH if value is None else f"{value:,.0f}"


def format_megabytes(size: int) -> str:
    """A size in MB."""
    return f"{size / 1e6:,.2f} MB"
