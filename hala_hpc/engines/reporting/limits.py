"""What a reader must know before he believes a page: limits, warnings, versions, signatures."""

from collections.abc import Sequence

from hala_hpc.engines.evaluation.report import (
    DASH,
    Table,
    join_signatures,
    models_table,
    provenance_table,
    stage_details,
)
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import PageTable
from hala_hpc.engines.reporting.score_rows import ScoreTable

#: Share of rejected rows above which a page warns.
MAX_QUIET_REJECTED = 0.25
#: Questions below which a page warns.
MIN_QUESTIONS = 300


def list_limits(tables: Sequence[ScoreTable]) -> list[str]:
    """What the scores cannot show."""
    limits = [
        "Scores are of benchmarks and of automatic metrics: they do not say whether people find an "
        "answer helpful, true or harmless.",
        "Whether questions of a benchmark were in the data of the base model is unknown.",
    ]
    small = [
        f"{row.title} ({row.samples})"
        for table in tables
        for row in table.headline_rows
        if row.samples is not None and row.samples < MIN_QUESTIONS
    ]
    if small:
        limits.append(
            f"Few questions or sentences, so that intervals are wide: {', '.join(small)}."
        )
    if any(
        cell
        for t in tables
        for row in t.rows
        for cell in row.cells.values()
        if not cell.has_interval
    ):
        limits.append("Scores without brackets have no interval: their chance is not measured.")
    return limits


def list_warnings(nodes: Sequence[NodeFacts]) -> list[str]:
    """What went other than planned in each node."""
    return [f"{node.name}: {text}" for node in nodes for text in node_warnings(node)]


def node_warnings(node: NodeFacts) -> list[str]:
    """Warnings about one node."""
    summary = node.summary
    if summary is None:
        return []
    texts = list(summary.because)
    # A judge is there to reject; elsewhere rejected rows are lost.
    if node.stage in ("prepare", "translate") and summary.rows_in:
        share = summary.rows_rejected / summary.rows_in
        if share > MAX_QUIET_REJECTED:
            texts.append(f"{100 * share:.0f} % of its rows were rejected.")
    if "+" in summary.commit:
        texts.append("Made by code with uncommitted changes.")
    if len(summary.code_digests) > 1:
        texts.append("Made by several versions of the code.")
    jumps = node.details.get("loss_jumps") or ()
    if jumps:
        texts.append(f"The loss rose after a resume, {len(jumps)} times.")
    return texts


def make_models_table(nodes: Sequence[NodeFacts]) -> PageTable:
    """What was done to each model."""
    table = models_table([node.summary for node in nodes if node.summary])
    return PageTable("models", Table("Models", ["step", "what was done"], table.rows, "", (0, 1)))


def make_provenance_table(nodes: Sequence[NodeFacts]) -> PageTable:
    """Fingerprint, commit and versions of each result."""
    table = provenance_table([node.summary for node in nodes if node.summary])
    return PageTable("provenance", table)


def make_signature_table(nodes: Sequence[NodeFacts]) -> PageTable:
    """How each score was computed."""
    rows = []
    for node in nodes:
        scores = node.details.get("scores")
        if node.summary is None or not isinstance(scores, dict):
            continue
        known = stage_details(node.summary).get("signatures", {})
        names = dict.fromkeys(name for by_name in known.values() for name in by_name)
        rows += [[node.name, name, join_signatures(node.details, [name]) or DASH] for name in names]
    note = (
        "All that a score depends on, in the form of sacreBLEU and lm-eval: only scores with equal "
        "signatures can be compared."
    )
    table = Table("Signatures", ["step", "score", "how it was computed"], rows, note, (0, 1, 2))
    return PageTable("signatures", table)
