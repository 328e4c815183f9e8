"""Write a page and the files beside it: every table as CSV and LaTeX, every drawing as SVG."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hala_hpc.core.files import write_text
from hala_hpc.engines.reporting.page_content import (
    Block,
    Drawing,
    Examples,
    Lines,
    PageTable,
    RunPage,
)
from hala_hpc.engines.reporting.safe_text import clean_text, escape_formula, escape_latex
from hala_hpc.engines.reporting.svg_theme import svg_for_file, svg_for_page, width_of_svg

HTML_FILE = "report.html"
#: Folder beside the page.
FIGURES = "figures"
TEMPLATE = "report.html.j2"


def write_page(page: RunPage, folder: Path) -> None:
    """Write the files, and last the page."""
    for name, text in figure_files(page):
        write_text(folder / FIGURES / name, text)
    write_text(folder / HTML_FILE, render_page(page))


def figure_files(page: RunPage) -> Iterator[tuple[str, str]]:
    """Name and content of every file beside the page."""
    for block in page.blocks:
        match block:
            case PageTable():
                columns = block.data_columns or block.table.columns
                yield f"{block.name}.csv", format_csv(columns, block.data or block.table.rows)
                yield f"{block.name}.tex", format_latex(block)
            case Drawing():
                yield f"{block.name}.svg", svg_for_file(block.svg)
                if block.data:
                    yield f"{block.name}.csv", format_csv(block.data_columns, block.data)
            case Examples():
                yield f"{block.name}.csv", format_csv(block.columns, block.rows)
            case Lines():
                pass


def list_figure_names(page: RunPage) -> list[str]:
    """Names of all files beside the page."""
    return [name for name, _ in figure_files(page)]


def format_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as CSV; cells that a spreadsheet would run are texts."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow([escape_cell(name) for name in columns])
    lines.writerows([escape_cell(cell) for cell in row] for row in rows)
    return written.getvalue()


def escape_cell(cell: object) -> object:
    """A cell of a CSV file: UTF-8 without null bytes, and no formula."""
    if not isinstance(cell, str):
        return cell
    # Readers differ in what a lone carriage return ends.
    text = cell.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "␀")
    return escape_formula(text.encode(errors="replace").decode())


def format_latex(block: PageTable) -> str:
    """A table for LaTeX, with the rules of booktabs; the best cells are bold."""
    table = block.table
    sides = "".join("l" if table.is_text_column(n) else "r" for n in range(len(table.columns)))
    lines = [
        rf"% {escape_latex(table.title)}; needs \usepackage{{booktabs}}",
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        " & ".join(map(escape_latex, table.columns)) + r" \\",
        r"\midrule",
    ]
    for number, row in enumerate(table.rows):
        cells = [
            rf"\textbf{{{escape_latex(cell)}}}"
            if (number, column) in block.best
            else escape_latex(cell)
            for column, cell in enumerate(row)
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def render_page(page: RunPage) -> str:
    """Render the page as one self-contained HTML file; all texts are escaped and cleaned."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=clean_value,
    )
    environment.tests["block_of"] = is_block_of
    environment.filters["svg"] = svg_filter(Markup)
    environment.filters["svg_width"] = width_of_svg
    return environment.get_template(TEMPLATE).render(page=page, figures=FIGURES)


def clean_value(value: Any) -> Any:
    """What the template prints: texts without invisible characters, and never too long."""
    return clean_text(value) if type(value) is str else value


def is_block_of(block: Block, kind: str) -> bool:
    """Whether a block is of the type of this name."""
    return type(block).__name__ == kind


def svg_filter(markup: Callable[[str], Any]) -> Callable[[str, str], Any]:
    """A filter that puts a drawing into the page as markup."""

    def draw(svg: str, prefix: str) -> Any:
        # Made by matplotlib or by us, which escape the texts in it.
        return markup(svg_for_page(svg, prefix))

    return draw
