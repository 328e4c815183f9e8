"""What a report shows, made of the summaries of nodes: tables and loss curves, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hala_hpc.core.errors import UserError
from hala_hpc.core.records import NodeSummary
from hala_hpc.core.stage_registry import find_stage
from hala_hpc.engines.evaluation.curve import Curve
from hala_hpc.engines.evaluation.score_tables import score_tables
from hala_hpc.engines.evaluation.table import DASH, Table, count, details

#: Letters of a commit that tell it from all others.
COMMIT_LETTERS = 12


@dataclass(frozen=True)
class Page:
    """A report before it becomes HTML or Markdown."""

    title: str
    tables: list[Table] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


def make_page(title: str, summaries: Sequence[NodeSummary]) -> Page:
    """Everything worth showing of some nodes, in the order of the nodes."""
    tables = [table for summary in summaries for table in score_tables(summary)]
    tables += [rows_table(summaries), reasons_table(summaries), models_table(summaries)]
    tables.append(made_table(summaries))
    trained = [s for s in summaries if details(s).get("curve")]
    curves = [Curve.of(s.node, details(s)["curve"]) for s in trained]
    return Page(title, [table for table in tables if table.rows], curves)


def rows_table(summaries: Sequence[NodeSummary]) -> Table:
    """Where every row went, and how fast."""
    columns = ["node", "stage", "units", "rows in", "rows out", "rejected"]
    columns += ["tokens in", "tokens out", "seconds", "tokens/s"]
    rows = []
    for s in summaries:
        tokens = s.tokens_out or s.tokens_in
        speed = tokens / s.seconds if tokens and s.seconds else None
        counts = (s.units, s.rows_in, s.rows_out, s.rows_rejected, s.tokens_in, s.tokens_out)
        rows.append([s.node, s.stage, *map(count, counts), f"{s.seconds:,.1f}", count(speed)])
    note = (
        "Seconds are those of all workers added up. Tokens/s counts the tokens that a stage wrote, "
        "or read where it writes none."
    )
    return Table("Rows and time of each node", columns, rows, note, (0, 1))


def reasons_table(summaries: Sequence[NodeSummary]) -> Table:
    """Why rows were rejected."""
    rows = [
        [s.node, reason, count(number)]
        for s in summaries
        for reason, number in sorted(s.rejected.items())
    ]
    return Table("Rejected rows by reason", ["node", "reason", "rows"], rows, "", (0, 1))


def models_table(summaries: Sequence[NodeSummary]) -> Table:
    """What was done to each model."""
    told = {s.node: summary_line(s) for s in summaries}
    rows = [[node, text] for node, text in told.items() if text]
    return Table("Models", ["node", "what was done"], rows, "", (0, 1))


def summary_line(summary: NodeSummary) -> str:
    """What the stage of a node tells of its model; of one that is gone or changed, just that."""
    try:
        stage = find_stage(summary.stage, summary.stage_source)
    except UserError as error:
        return str(error)
    return stage.summary_line(details(summary))


def made_table(summaries: Sequence[NodeSummary]) -> Table:
    """What made each result: fingerprint, code and libraries."""
    rows = [
        [
            s.node,
            s.fingerprint or DASH,
            s.commit[:COMMIT_LETTERS] or DASH,
            ", ".join(f"{k} {v}" for k, v in sorted(s.versions.items())) or DASH,
        ]
        for s in summaries
    ]
    columns = ["node", "fingerprint", "commit", "versions"]
    return Table("How it was made", columns, rows, "", (0, 1, 2, 3))
