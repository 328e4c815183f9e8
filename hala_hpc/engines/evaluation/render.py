"""Render a report as Markdown."""

from collections.abc import Sequence

from hala_hpc.engines.evaluation.report import ReportPage, Table
from hala_hpc.engines.reporting.safe_text import clean_text


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
    text = clean_text(text)
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(sign, code)
    return text
