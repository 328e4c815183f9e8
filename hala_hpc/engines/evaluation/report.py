"""Build the content of a report from node summaries: tables and loss curves, without markup."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from hala_hpc.core.errors import UserError
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.records import NodeSummary
from hala_hpc.core.stage_registry import find_stage

#: Characters of an abbreviated commit, enough to be unique.
COMMIT_LETTERS = 12
#: Translation metrics; every other score belongs to a benchmark.
TRANSLATION = {
    "bleu": "BLEU",
    "bleu_intl": "BLEU (intl)",
    "chrf++": "chrF++",
    "ter": "TER (lower is better)",
    "rouge_l": "ROUGE-L",
    "rouge_l_ascii": "ROUGE-L as rouge-score does it: sees no Arabic letter",
    "structure": "Placeholders, markup, lists and numbers preserved (% of sentences)",
}
INTERVAL_NOTE = (
    "Brackets: 95 % interval of the score; Wilson's below 300 questions, else the normal one. "
    "Intervals that overlap do not show that two models are equal."
)
#: Placeholder for a missing value.
DASH = "–"


@dataclass(frozen=True)
class Table:
    """A table: heading, column names, rows of text, and a note below."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    text_columns: tuple[int, ...] = (0,)

    def is_text_column(self, column: int) -> bool:
        """Whether a column holds text, which is left-aligned, instead of numbers."""
        return column in self.text_columns


class CurvePoint(JsonRecord):
    """Mean metrics of several training steps."""

    step: int
    """The last of these steps."""
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Curve:
    """The loss curve of one training."""

    name: str
    points: tuple[CurvePoint, ...]

    @classmethod
    def of(cls, name: str, points: Sequence[object]) -> Self:
        """Make a curve from the points in a training's summary."""
        return cls(name, tuple(CurvePoint.model_validate(point) for point in points))

    @property
    def good(self) -> list[tuple[float, float]]:
        """Step and loss of every point with a finite loss."""
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
    """A report, not yet rendered as HTML or Markdown."""

    title: str
    tables: list[Table] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


def make_report_page(
    title: str,
    summaries: Sequence[NodeSummary],
    item_tables: Mapping[str, Sequence[Table]] | None = None,
) -> ReportPage:
    """Make the report of several nodes, in their order; empty tables are left out.

    `item_tables`: tables from the items of evaluations, by node; they follow its scores.
    """
    more = item_tables or {}
    tables = [
        table
        for summary in summaries
        for table in (*score_tables(summary), *more.get(summary.node, ()))
    ]
    tables += [rows_table(summaries), reasons_table(summaries), found_table(summaries)]
    tables += [similar_table(summaries), models_table(summaries)]
    tables.append(provenance_table(summaries))
    trained = [s for s in summaries if stage_details(s).get("curve")]
    curves = [Curve.of(s.node, stage_details(s)["curve"]) for s in trained]
    return ReportPage(title, [table for table in tables if table.rows], curves)


def rows_table(summaries: Sequence[NodeSummary]) -> Table:
    """Table of units, rows, tokens and speed of each node."""
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
        "Seconds are summed over all workers. Tokens/s counts the tokens that a stage generated, "
        "or read if it generates none."
    )
    return Table("Rows and time of each node", columns, rows, note, (0, 1))


def reasons_table(summaries: Sequence[NodeSummary]) -> Table:
    """Table of rejected rows by reason."""
    rows = [
        [s.node, reason, format_count(number)]
        for s in summaries
        for reason, number in sorted(s.rejected.items())
    ]
    return Table("Rejected rows by reason", ["node", "reason", "rows"], rows, "", (0, 1))


def found_table(summaries: Sequence[NodeSummary]) -> Table:
    """Table of what the searches of `prepare` found, and of the benchmarks that were searched."""
    rows = []
    for s in summaries:
        quality = stage_details(s).get("quality") or {}
        for reason, count in sorted(quality.get("found", {}).items()):
            rejected = s.rejected.get(reason, 0)
            rows.append([s.node, reason, format_count(count), format_count(rejected)])
        for each in quality.get("benchmarks", []):
            text = f"searched: {each['name']}, {format_count(each['short_texts'])} of its "
            text += f"{format_count(each['texts'])} texts are too short"
            rows.append([s.node, text, DASH, DASH])
    note = (
        "A row may be found for several reasons and is rejected for one. Rules and searches that "
        "only count reject none."
    )
    return Table(
        "Rows found in the data", ["node", "reason", "found", "rejected"], rows, note, (0, 1)
    )


def similar_table(summaries: Sequence[NodeSummary]) -> Table:
    """Table of rows that `prepare` found to be similar to an earlier row or to a benchmark."""
    rows = [
        [
            s.node,
            each["reason"],
            each["row"],
            each["text"],
            each["match"],
            each["match_text"],
            DASH if each["similarity"] is None else f"{each['similarity']:.2f}",
        ]
        for s in summaries
        for each in (stage_details(s).get("quality") or {}).get("listed", [])
    ]
    columns = ["node", "reason", "row", "its text", "similar to", "its text, or what both share"]
    note = "The first of each search. The line of a rejected row in rejected-*.jsonl names all."
    return Table("Similar rows", [*columns, "similarity"], rows, note, (0, 1, 2, 3, 4, 5))


def models_table(summaries: Sequence[NodeSummary]) -> Table:
    """Table of what was done to each model."""
    lines = {s.node: summary_line(s) for s in summaries}
    rows = [[node, text] for node, text in lines.items() if text]
    return Table("Models", ["node", "what was done"], rows, "", (0, 1))


def summary_line(summary: NodeSummary) -> str:
    """The summary line of a node's stage; the error if that stage is missing or has changed."""
    try:
        stage = find_stage(summary.stage, summary.stage_source)
    except UserError as error:
        return str(error)
    return stage.summary_line(stage_details(summary))


def provenance_table(summaries: Sequence[NodeSummary]) -> Table:
    """Table of fingerprint, commit and library versions of each result."""
    rows = [
        [
            s.node,
            s.fingerprint or DASH,
            shorten_commits(s.commit) or DASH,
            ", ".join(f"{k} {v}" for k, v in sorted(s.versions.items())) or DASH,
        ]
        for s in summaries
    ]
    columns = ["step", "fingerprint", "commit", "versions"]
    note = (
        "Fingerprint: the name of a result, which follows from its settings and inputs. Commit: "
        "the version of the code of hala_hpc; + after one whose files were changed."
    )
    return Table("How it was made", columns, rows, note, (0, 1, 2, 3))


def shorten_commits(commits: str) -> str:
    """Abbreviate commits: `6d78d78c0ffe+, 60e2239...`; `+` means that files were modified."""
    found = (one.partition("+") for one in commits.split(", "))
    return ", ".join(name[:COMMIT_LETTERS] + plus for name, plus, _ in found)


def score_tables(summary: NodeSummary) -> list[Table]:
    """Tables of translation and benchmark scores of one evaluation, a column per model."""
    by_label = stage_details(summary).get("scores")
    if not isinstance(by_label, dict):
        return []
    names = list(dict.fromkeys(name for scores in by_label.values() for name in scores))
    node = summary.node
    translation_names = [name for name in names if is_translation_score(name)]
    benchmark_names = [name for name in names if not is_translation_score(name)]
    return [
        make_score_table(f"Translation ({node})", summary, translation_names),
        make_score_table(f"Benchmarks ({node})", summary, benchmark_names),
    ]


def is_translation_score(name: str) -> bool:
    """Whether a score is `bleu` or `bleu/<corpus>`, and not `<task>/<metric>` of a benchmark."""
    return name.partition("/")[0] in TRANSLATION


def describe_score_name(name: str) -> str:
    """Name of a score in tables: `chrF++`, `chrF++, opus-test`, or `<task>/<metric>`."""
    metric, slash, corpus = name.partition("/")
    if metric not in TRANSLATION:
        return name
    return f"{TRANSLATION[metric]}, {corpus}" if slash else TRANSLATION[metric]


def make_score_table(title: str, summary: NodeSummary, names: Sequence[str]) -> Table:
    """Table of scores by model; the second and later models with the difference to the first."""
    found = stage_details(summary)
    labels = list(found["scores"])
    rows = []
    for name in names:
        values = [found["scores"][label].get(name) for label in labels]
        errors = [found.get("errors", {}).get(label, {}).get(name) for label in labels]
        intervals = [found.get("intervals", {}).get(label, {}).get(name) for label in labels]
        spreads = map(format_spread, errors, intervals)
        cells = [
            format_score(value, spread, None if column == 0 else values[0])
            for column, (value, spread) in enumerate(zip(values, spreads, strict=True))
        ]
        samples = found.get("samples", {}).get(labels[0], {})
        size = samples.get(name, samples.get(name.partition("/")[0]))
        rows.append([describe_score_name(name), *cells, format_count(size)])
    note = join_signatures(found, names)
    if any(name in known for known in found.get("intervals", {}).values() for name in names):
        note = f"{INTERVAL_NOTE} {note}"
    return Table(title, ["score", *labels, "samples"], rows, note)


def format_spread(error: float | None, interval: Sequence[float] | None) -> str:
    """Format a score's 95 % interval, or its standard error if it has no interval."""
    if interval is not None:
        return f" [{', '.join(map(format_decimals, interval))}]"
    return "" if error is None else f" ± {format_decimals(error)}"


def format_score(value: float | None, spread: str, first: float | None) -> str:
    """Format a score, its interval or error, and the difference to the first model's score."""
    if value is None:
        return DASH
    text = format_decimals(value) + spread
    if first is not None:
        # As many digits as the scores: benchmarks range from 0 to 1, translation metrics to 100.
        text += f" ({'+' if value >= first else '−'}{format_decimals(abs(value - first))})"
    return text


def format_decimals(value: float) -> str:
    """Format with four decimals up to 1, else with two."""
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}"


def join_signatures(found: dict[str, Any], names: Iterable[str]) -> str:
    """The distinct signatures of the named scores."""
    by_label = found.get("signatures", {})
    texts = [f"{n}: {s[n]}" for s in by_label.values() for n in names if n in s]
    return "; ".join(dict.fromkeys(texts))


def stage_details(summary: NodeSummary) -> dict[str, Any]:
    """The stage's own part of a summary: its metrics."""
    return summary.details if isinstance(summary.details, dict) else {}


def format_count(value: float | None) -> str:
    """Format a number with thousands separators; a dash for None."""
    return DASH if value is None else f"{value:,.0f}"


def format_megabytes(size: int) -> str:
    """Format bytes as MB (10^6 bytes)."""
    return f"{size / 1e6:,.2f} MB"
