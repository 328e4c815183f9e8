"""Render a report as Markdown."""

from hala_hpc.engines.evaluation.report import ReportPage, Table
from hala_hpc.engines.reporting.safe_text import escape_markdown, format_markdown_row


def render_report_markdown(page: ReportPage) -> str:
    """Render the tables of the report in Markdown."""
    parts = [f"# {escape_markdown(page.title)}", *map(markdown_table, page.tables)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Render a table in GitHub-flavored Markdown, with heading and note."""
    lines = [f"## {escape_markdown(table.title)}", ""]
    lines.append(format_markdown_row(table.columns))
    sides = [
        ":--" if table.is_text_column(column) else "--:" for column in range(len(table.columns))
    ]
    lines.append(f"| {' | '.join(sides)} |")
    lines += [format_markdown_row(row) for row in table.rows]
    if table.note:
        lines += ["", escape_markdown(table.note)]
    return "\n".join(lines)
