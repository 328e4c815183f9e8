"""What became of the rows: read, rejected with reasons, accepted, tokens; scores of a judge."""

from collections.abc import Sequence
from typing import Any

from hala_hpc.engines.evaluation.report import Table, format_count
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import Drawing, PageTable
from hala_hpc.engines.reporting.reader_texts import explain_reason
from hala_hpc.engines.reporting.safe_text import clean_label, file_stem
from hala_hpc.engines.reporting.svg_theme import INK, SERIES, draw_svg

#: Reason of rows that repeat an earlier one.
DUPLICATE = "duplicate"
#: Reasons that the drawing names; further ones are one part.
MAX_REASONS = 4
#: In the words of matplotlib.
LEGEND_PLACE = "outside upper left"


def row_nodes(nodes: Sequence[NodeFacts]) -> list[NodeFacts]:
    """Finished nodes that read rows and may reject some."""
    stages = ("prepare", "filter", "translate", "tokenize")
    return [n for n in nodes if n.summary and n.summary.rows_in and n.stage in stages]


def make_funnel_table(nodes: Sequence[NodeFacts]) -> PageTable:
    """A row for each node: rows in, duplicates, other rejections, accepted, tokens."""
    columns = ["step", "stage", "rows in", "duplicates", "rejected", "accepted", "share", "tokens"]
    data: list[list[object]] = []
    cells = []
    for node in row_nodes(nodes):
        summary = node.summary
        assert summary is not None
        duplicates = summary.rejected.get(DUPLICATE, 0)
        rejected = summary.rows_rejected - duplicates
        tokens = summary.tokens_out or summary.tokens_in
        share = summary.rows_out / summary.rows_in
        data.append(
            [
                *(node.name, node.stage, summary.rows_in, duplicates, rejected),
                *(summary.rows_out, round(share, 4), tokens),
            ]
        )
        numbers = (summary.rows_in, duplicates, rejected, summary.rows_out)
        cells.append(
            [
                *(node.name, node.stage, *map(format_count, numbers)),
                *(f"{100 * share:.1f} %", format_count(tokens or None)),
            ]
        )
    note = (
        "Rows in = duplicates + rejected + accepted. Tokens: those that a step generated, or read "
        "if it generates none."
    )
    return PageTable("funnel", Table("Rows", columns, cells, note, (0, 1)), data, columns)


def make_reasons_table(nodes: Sequence[NodeFacts]) -> PageTable:
    """A row for each reason of each node, the most frequent first."""
    found = [
        (node.name, reason, count, node.summary.rows_in)
        for node in nodes
        if node.summary
        for reason, count in sorted(node.summary.rejected.items(), key=lambda one: -one[1])
        if count
    ]
    cells = [
        [
            *(name, reason, explain_reason(reason), format_count(count)),
            f"{100 * count / rows:.2f} %" if rows else "–",
        ]
        for name, reason, count, rows in found
    ]
    columns = ["step", "reason", "what it means", "rows", "share of its rows"]
    table = Table("Rejected rows by reason", columns, cells, "", (0, 1, 2))
    return PageTable("rejected", table, found, ("step", "reason", "rows", "rows_in"))


def draw_funnel(nodes: Sequence[NodeFacts]) -> Drawing | None:
    """Shares of accepted and rejected rows of each node as bars; None if nothing was rejected."""
    found = [node for node in row_nodes(nodes) if node.summary and node.summary.rows_rejected]
    if not found:
        return None
    totals: dict[str, int] = {}
    for node in found:
        for reason, count in node.summary.rejected.items() if node.summary else ():
            totals[reason] = totals.get(reason, 0) + count
    named = sorted(totals, key=lambda reason: -totals[reason])[:MAX_REASONS]
    data = [funnel_shares(node, named) for node in found]
    parts = ["accepted", *named, "other reasons"]

    def plot(axes: Sequence[Any]) -> None:
        (axis,) = axes
        left = [0.0] * len(found)
        for number, part in enumerate(parts):
            widths = [shares[number] for shares in data]
            if any(widths):
                axis.barh(
                    range(len(found)),
                    widths,
                    left=left,
                    height=0.62,
                    label=clean_label(part),
                    color=SERIES[(number + 2) % len(SERIES)],
                )
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axis.set_yticks(range(len(found)), [clean_label(node.name) for node in found])
        axis.invert_yaxis()
        axis.set_xlim(0, 100)
        axis.set_xlabel("share of the rows, %")
        axis.grid(visible=False, axis="y")
        axis.figure.legend(loc=LEGEND_PLACE, ncols=3, fontsize=8)

    svg = draw_svg(plot, 1, (7.2, 1.1 + 0.36 * len(found)))
    rows = [[node.name, *shares] for node, shares in zip(found, data, strict=True)]
    described = "; ".join(
        f"{node.name}: {shares[0]:.1f} % accepted" for node, shares in zip(found, data, strict=True)
    )
    return Drawing(
        "funnel-shares",
        "Accepted and rejected rows",
        svg,
        described,
        "Steps that rejected nothing are left out.",
        ("step", *parts),
        rows,
    )


def funnel_shares(node: NodeFacts, named: Sequence[str]) -> list[float]:
    """Percent of the rows: accepted, each named reason, all other reasons."""
    summary = node.summary
    assert summary is not None
    counts = [summary.rows_out, *(summary.rejected.get(reason, 0) for reason in named)]
    counts.append(sum(n for reason, n in summary.rejected.items() if reason not in named))
    return [round(100 * count / summary.rows_in, 2) for count in counts]


def draw_judge_scores(node: NodeFacts) -> Drawing | None:
    """Histogram of a judge's scores with the cut; None for a node without them."""
    scores = node.details.get("judge_scores")
    counts = scores.get("histogram") if isinstance(scores, dict) else None
    if not counts:
        return None
    width = 1 / len(counts)
    edges = [round(number * width, 4) for number in range(len(counts))]
    cut = judge_cut(node)

    def plot(axes: Sequence[Any]) -> None:
        (axis,) = axes
        colors = [
            SERIES[2] if cut is None or edge + width / 2 >= cut else SERIES[4] for edge in edges
        ]
        axis.bar(edges, counts, width=0.92 * width, align="edge", color=colors)
        if cut is not None:
            axis.axvline(cut, color=INK, linewidth=1, linestyle="--")
            axis.annotate(f" cut {cut:.3g}", (cut, max(counts)), va="top")
        axis.set_xlim(0, 1)
        axis.set_xlabel("score of the judge: probability that it accepts")
        axis.set_ylabel("pairs")
        axis.grid(visible=False, axis="x")

    stated = "unknown" if cut is None else f"{cut:.3g}"
    return Drawing(
        f"judge-scores-{file_stem(node.name)}",
        f"Scores of the judge in {node.name}",
        draw_svg(plot, 1, (6.4, 2.6)),
        f"Pairs in {len(counts)} bins of the score from 0 to 1: {', '.join(map(str, counts))}. "
        f"Cut: {stated}.",
        "Pairs left of the dashed line are rejected.",
        ("score_from", "score_to", "pairs"),
        [[edge, round(edge + width, 4), count] for edge, count in zip(edges, counts, strict=True)],
    )


def judge_cut(node: NodeFacts) -> float | None:
    """The lowest accepted score; None if it is unknown, as for a target share."""
    cut = node.details.get("lowest_score")
    if cut is None and node.settings.get("target_share") is None:
        cut = node.settings.get("threshold")
    return None if cut is None else float(cut)
