"""The page of a report as HTML and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from hala_hpc.engines.evaluation.report import Curve, ReportPage, Table

TEMPLATE = Path(__file__).with_name("report.html.j2")
#: Of the drawing of a curve, in pixels; the margin holds the numbers at the axes.
WIDTH, HEIGHT, MARGIN = 460, 200, 44


def render_report_html(page: ReportPage) -> str:
    """The page as one file that needs no other; text of data is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        page=page, path=format_polyline, width=WIDTH, height=HEIGHT, margin=MARGIN
    )


def format_polyline(curve: Curve) -> str:
    """The points of a curve as an SVG polyline, e.g. `44,10 90,31.5`."""
    (first, last), (low, high) = curve.steps, curve.losses
    return " ".join(
        f"{MARGIN + (WIDTH - MARGIN - 10) * share(step, first, last):.1f},"
        f"{10 + (HEIGHT - 40) * (1 - share(loss, low, high)):.1f}"
        for step, loss in curve.good
    )


def share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, from 0 to 1; the middle when they are one."""
    return (value - low) / (high - low) if high > low else 0.5


def render_report_markdown(page: ReportPage) -> str:
    """The tables of the page in Markdown."""
    parts = [f"# {escape_markdown(page.title)}", *map(markdown_table, page.tables)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """A table of GitHub's kind, with heading and note."""
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
    """A line of a Markdown table."""
    return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"


def escape_markdown(text: str) -> str:
    """Text that neither ends a cell nor begins HTML."""
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(sign, code)
    return text
