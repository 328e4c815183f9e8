"""The page of a report as HTML and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from hala_hpc.engines.evaluation.report import Curve, Page, Table

TEMPLATE = Path(__file__).with_name("report.html.j2")
#: Of the drawing of a curve, in pixels; the margin holds the numbers at the axes.
WIDTH, HEIGHT, MARGIN = 460, 200, 44


def html(page: Page) -> str:
    """The page as one file that needs no other; text of data is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(page=page, path=path, width=WIDTH, height=HEIGHT, margin=MARGIN)


def path(curve: Curve) -> str:
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


def markdown(page: Page) -> str:
    """The tables of the page in Markdown."""
    parts = [f"# {plain(page.title)}", *map(markdown_table, page.tables)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """A table of GitHub's kind, with heading and note."""
    lines = [f"## {plain(table.title)}", ""]
    lines.append(row_of(table.columns))
    sides = [":--" if table.words(column) else "--:" for column in range(len(table.columns))]
    lines.append(f"| {' | '.join(sides)} |")
    lines += [row_of(row) for row in table.rows]
    if table.note:
        lines += ["", plain(table.note)]
    return "\n".join(lines)


def row_of(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(plain(cell) for cell in cells)} |"


def plain(text: str) -> str:
    """Text that neither ends a cell nor begins HTML."""
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(sign, code)
    return text
