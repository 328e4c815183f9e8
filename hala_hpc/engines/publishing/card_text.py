"""The parts of a card, as Markdown: lineage, data, settings, scores, hours, versions."""

import json
from collections.abc import Mapping, Sequence

from hala_hpc.engines.evaluation.report import DASH
from hala_hpc.engines.publishing.lineage import Lineage, OuterInput
from hala_hpc.engines.reporting.limits import list_limits
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.safe_text import escape_markdown, format_markdown_row
from hala_hpc.engines.reporting.score_rows import ScoreTable, format_cell

#: Settings that are about speed or this machine, and say nothing about a result.
LEFT_OUT = frozenset({"resources", "units", "models", "nodes"})


def markdown_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with escaped cells; empty without rows."""
    if not rows:
        return ""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(map(format_markdown_row, lines))


def describe_lineage(lineage: Lineage) -> str:
    """A row for each step that the result is made of, inputs first."""
    rows = [
        [
            node.name,
            node.stage,
            node.summary.fingerprint if node.summary else DASH,
            ", ".join(shown_inputs(node, lineage)) or DASH,
        ]
        for node in lineage.nodes
    ]
    return "Steps that it is made of:\n\n" + markdown_rows(
        ["step", "stage", "fingerprint", "reads"], rows
    )


def shown_inputs(node: NodeFacts, lineage: Lineage) -> list[str]:
    """Names of what a node reads; of paths the last part only."""
    outer = {one.name for one in lineage.outer_inputs}
    steps = {one.name for one in lineage.nodes}
    shown = [
        name if name in outer | steps else name.rpartition("/")[2] for name in node.input_names
    ]
    return list(dict.fromkeys(shown))


def describe_data(lineage: Lineage) -> str:
    """The inputs from outside with their commits, and what became of the rows."""
    inputs = [
        [one.name, kind_of(one), one.commit or DASH, one.used_by] for one in lineage.outer_inputs
    ]
    rows = [
        [
            node.name,
            f"{s.rows_in:,}",
            f"{s.rows_out:,}",
            f"{s.rows_rejected:,}",
            ", ".join(f"{reason} {count:,}" for reason, count in sorted(s.rejected.items()))
            or DASH,
        ]
        for node in lineage.nodes
        if (s := node.summary) and s.rows_in and node.stage in ("prepare", "filter", "translate")
    ]
    tables = [
        markdown_rows(["input", "kind", "commit", "read by"], inputs),
        markdown_rows(["step", "rows in", "accepted", "rejected", "reasons"], rows),
    ]
    return "\n\n".join(table for table in tables if table) or "No data is recorded."


def kind_of(one: OuterInput) -> str:
    """What an input from outside is."""
    return {"models": "model", "datasets": "data set"}.get(one.repository, "file")


def describe_settings(lineage: Lineage) -> str:
    """The settings of every step, as they decide the result."""
    settings = {
        node.name: {k: v for k, v in node.settings.items() if k not in LEFT_OUT}
        for node in lineage.nodes
        if node.settings
    }
    if not settings:
        return "Unknown."
    text = json.dumps(settings, ensure_ascii=False, indent=1, sort_keys=True)
    # A fence that no prompt in the settings can end.
    return f"~~~~~~json\n{text.replace('~~~~~~', '~~~ ~~~')}\n~~~~~~"


def describe_sizes(lineage: Lineage) -> str:
    """The line of the stage about its result."""
    from hala_hpc.engines.evaluation.report import summary_line

    lines = [
        f"- {escape_markdown(node.name)}: {escape_markdown(line)}"
        for node in lineage.nodes
        if node.summary and (line := summary_line(node.summary))
    ]
    return "\n".join(lines) or "Unknown."


def list_scores(tables: Sequence[ScoreTable]) -> str:
    """All scores with 95 % intervals, and how they were computed."""
    texts = []
    for table in tables:
        rows = [
            [
                row.title,
                *(format_cell(row.cells.get(label)) for label in table.labels),
                DASH if row.samples is None else f"{row.samples:,}",
            ]
            for row in [*table.rows, *([table.mean_row] if table.mean_row else [])]
        ]
        texts.append(markdown_rows(["score", *table.labels, "samples"], rows))
    if not texts:
        return "Not evaluated."
    return "\n\n".join([*texts, "Brackets: 95 % intervals."])


def describe_limits(tables: Sequence[ScoreTable]) -> str:
    """What the scores cannot show, and what holds for every model of this method."""
    limits = [
        "It may state what is false, and repeat what is harmful or biased in its data.",
        "Machine translation brings its own mistakes into the data.",
        *(list_limits(tables) if tables else ["It was not evaluated."]),
    ]
    return "\n".join(f"- {escape_markdown(text)}" for text in limits)


def describe_hours(lineage: Lineage, energy_kwh: Mapping[str, float]) -> str:
    """GPU hours and energy of all steps; `energy_kwh` is by the folder of a node."""
    energy = {
        node.name: energy_kwh[node.output.parent.name]
        for node in lineage.nodes
        if node.output is not None and node.output.parent.name in energy_kwh
    }
    known = [node for node in lineage.nodes if node.gpu_hours or node.name in energy]
    if not known:
        return "GPU hours: none recorded. Energy and hardware: unknown."
    rows = [
        [
            node.name,
            f"{node.gpu_hours:,.2f}" if node.gpu_hours else DASH,
            f"{energy[node.name]:,.2f}" if node.name in energy else DASH,
        ]
        for node in known
    ]
    hours = sum(node.gpu_hours or 0.0 for node in known)
    text = f"In all {hours:,.2f} GPU hours, by the records of the jobs. "
    if not energy:
        return f"{markdown_rows(['step', 'GPU hours'], [row[:2] for row in rows])}\n\n{text}" + (
            "Energy: unknown."
        )
    text += (
        f"Energy: {sum(energy.values()):,.2f} kWh, as SLURM measured it on whole nodes; for jobs "
        "that shared a node it is too much."
    )
    if unknown := [node.name for node in known if node.name not in energy]:
        text += f" Unknown for {', '.join(map(escape_markdown, unknown))}."
    return f"{markdown_rows(['step', 'GPU hours', 'energy, kWh'], rows)}\n\n{text}"


def describe_versions(lineage: Lineage) -> str:
    """Libraries and code of the result."""
    summary = lineage.result.summary
    versions = sorted(summary.versions.items()) if summary else []
    rows = [[name, version] for name, version in versions]
    rows.append(["hala_hpc", (summary.commit if summary else "") or "unknown"])
    return markdown_rows(["software", "version"], rows)
