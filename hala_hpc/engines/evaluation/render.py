"""Render a report as HTML and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from hala_hpc.engines.evaluation import sweep_plot
from hala_hpc.engines.evaluation.report import Curve, ReportPage, Table

TEMPLATE = Path(__file__).with_name("report.html.j2")
#: Pixels of the drawing of a curve; the margin holds the axis labels.
WIDTH, HEIGHT, MARGIN = 460, 200, 44


def render_report_html(page: ReportPage) -> str:
    """Render the report as one self-contained HTML file; texts are escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        page=page, path=format_polyline, width=WIDTH, height=HEIGHT, margin=MARGIN, plot=sweep_plot
    )


def format_polyline(curve: Curve) -> str:
    """Format the points of a curve as an SVG polyline, for example `44,10 90,31.5`."""
    (first, last), (low, high) = curve.steps, curve.losses
    return " ".join(
        f"{MARGIN + (WIDTH - MARGIN - 10) * share(step, first, last):.1f},"
        f"{10 + (HEIGHT - 40) * (1 - share(loss, low, high)):.1f}"
        for step, loss in curve.good
    )


def share(value: float, low: float, high: float) -> float:
    """Position of a value between two others, from 0 to 1; 0.5 if both are equal."""
    return (value - low) / (high - low) if high > low else 0.5


def render_report_markdown(page: ReportPage) -> str:
    """Render the tables of the report in Markdown."""
    parts = [f"# {escape_markdown(page.title)}", *map(markdown_table, page.tables)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Render a table in GitHub-flavored Markdown, with heading and note."""
    lines = [f"## {escape_markdown(table.title)}", ""]
    lines.append(format_row(table.columns))
    sides = [
        ":--" if table.is_text_column(column) else "--:" for column in range(len(table.columns))
    ]
    lines.append(f"| {' | '.join(sides)} |")
    lines += [format_row(row) for row in table.rows]
    if table.note:
        lines += ["", escape_markdown(table.note)]
    return "\n".join(lines)


def format_row(cells: Sequence[str]) -> str:
    """Format a row of a Markdown table."""
    return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"


def escape_markdown(text: str) -> str:
    """Escape text that would end a table cell or start an HTML tag."""
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(sign, code)
    return text
