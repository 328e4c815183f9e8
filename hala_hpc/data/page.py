"""What a report shows, made of the summaries of nodes: tables and loss curves, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hala_hpc.data.curve import Curve
from hala_hpc.data.score_tables import score_tables
from hala_hpc.data.table import DASH, Summary, Table, count, details


@dataclass(frozen=True)
class Page:
    """A report before it becomes HTML or Markdown."""

    title: str
    tables: list[Table] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


def make_page(title: str, summaries: Sequence[Summary]) -> Page:
    """Everything worth showing of some nodes, in the order of the nodes."""
    tables = [table for summary in summaries for table in score_tables(summary)]
    tables += [rows_table(summaries), reasons_table(summaries), models_table(summaries)]
    tables.append(made_table(summaries))
    trained = [s for s in summaries if details(s).get("curve")]
    curves = [Curve(s["node"], details(s)["curve"]) for s in trained]
    return Page(title, [table for table in tables if table.rows], curves)


def rows_table(summaries: Sequence[Summary]) -> Table:
    """Where every row went, and how fast."""
    columns = ["node", "stage", "units", "rows in", "rows out", "rejected"]
    columns += ["tokens in", "tokens out", "seconds", "tokens/s"]
    rows = []
    for s in summaries:
        tokens, seconds = s.get("tokens_out") or s.get("tokens_in"), s.get("seconds")
        speed = tokens / seconds if tokens and seconds else None
        keys = ("units", "rows_in", "rows_out", "rows_rejected", "tokens_in", "tokens_out")
        rows.append(
            [s.get("node", DASH), s.get("stage", DASH)]
            + [count(s.get(key)) for key in keys]
            + [DASH if seconds is None else f"{seconds:,.1f}", count(speed)]
        )
    note = (
        "Seconds are those of all workers added up. Tokens/s counts the tokens that a stage wrote, "
        "or read where it writes none."
    )
    return Table("Rows and time of each node", columns, rows, note, (0, 1))


def reasons_table(summaries: Sequence[Summary]) -> Table:
    """Why rows were rejected."""
    rows = [
        [s.get("node", DASH), reason, count(number)]
        for s in summaries
        for reason, number in sorted(s.get("rejected", {}).items())
    ]
    return Table("Rejected rows by reason", ["node", "reason", "rows"], rows, "", (0, 1))


def models_table(summaries: Sequence[Summary]) -> Table:
    """What was done to each model."""
    rows = [
        [s["node"], text] for s in summaries if (text := model_text(s.get("stage"), details(s)))
    ]
    return Table("Models", ["node", "what was done"], rows, "", (0, 1))


def model_text(stage: str | None, found: dict[str, Any]) -> str:
    """One line about a compressed, trained or merged model; empty for anything else."""
    if stage == "sft" and "loss_last" in found:
        return (
            f"{found.get('steps', DASH)} steps on {found.get('ranks', DASH)} ranks, "
            f"{found.get('engine', DASH)}, {found.get('dtype', DASH)}: "
            f"loss {found['loss_first']:.3f} to {found['loss_last']:.3f}"
        )
    if stage == "quantize" and "bytes_after" in found:
        return (
            f"{found.get('scheme', DASH)}: {found.get('fp8_weights', 0)} FP8 weights, "
            f"{megabytes(found['bytes_before'])} to {megabytes(found['bytes_after'])}"
        )
    if stage == "merge" and "t" in found:
        return f"slerp with t = {found['t']}, {count(found.get('weights'))} weights"
    return ""


def made_table(summaries: Sequence[Summary]) -> Table:
    """What made each result: fingerprint, code and libraries."""
    rows = [
        [
            s.get("node", DASH),
            s.get("fingerprint", DASH),
            str(s.get("commit") or DASH)[:12],
            ", ".join(f"{k} {v}" for k, v in sorted(s.get("versions", {}).items())) or DASH,
        ]
        for s in summaries
    ]
    columns = ["node", "fingerprint", "commit", "versions"]
    return Table("How it was made", columns, rows, "", (0, 1, 2, 3))


def megabytes(size: int) -> str:
    """A size in MB."""
    return f"{size / 1e6:,.2f} MB"
