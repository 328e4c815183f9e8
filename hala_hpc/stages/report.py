"""report: one HTML page and a Markdown file about what the nodes before it did."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import Field

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.files import write_text
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import NodeRef, StageSettings
from hala_hpc.core.stage import Facts, Out, Stage
from hala_hpc.data import curve
from hala_hpc.data.page import Page, make_page
from hala_hpc.data.table import Table

HTML_FILE = "report.html"
MARKDOWN_FILE = "report.md"
TEMPLATE = Path(__file__).with_name("report.html.j2")


class Settings(StageSettings):
    """Settings of report."""

    nodes: list[NodeRef] = Field(min_length=1)
    """`@node` of every node to tell of, in the order of the page."""
    title: str = "Hala: results of a run"
    """Heading of the page."""
    resources: Resources = Resources(cpus_per_rank=1, mem_gb=2, timeout_min=10)
    """What the job gets; it only reads summaries."""


class Report(Stage[Settings]):
    """One unit: the page."""

    name = "report"
    produces = "page"
    Settings = Settings

    def preflight(self) -> list[str]:
        """Find words that name no node."""
        return [
            f"nodes: {name!r} names no node; write @{name.lstrip('@')}"
            for name in self.settings.nodes
            if not name.startswith("@")
        ]

    def run(self, units: Iterable[int], out: Out) -> None:
        """Read the summaries and write both files."""
        summaries = [self.inputs.summary(node) for node in self.settings.nodes]
        page = make_page(self.settings.title, summaries)
        for unit in units:
            write_text(out.folder(unit) / HTML_FILE, html(page))
            write_text(out.folder(unit) / MARKDOWN_FILE, markdown(page))
            out.commit(unit)

    def check(self, unit: int, folder: Path) -> Facts:
        """Both files are whole and tell of every node."""
        for name, end in ((HTML_FILE, "</html>"), (MARKDOWN_FILE, "")):
            text = (folder / name).read_text(encoding="utf-8")
            missing = [node for node in self.settings.nodes if node[1:] not in text]
            if missing or not text.rstrip().endswith(end):
                raise UserError(f"unit {unit}: {name} is cut short or lacks {missing}", INTERNAL)
        return Facts(details={"nodes": len(self.settings.nodes)})


def html(page: Page) -> str:
    """The page as one file that needs no other; text of data is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(page=page, width=curve.WIDTH, height=curve.HEIGHT, margin=curve.MARGIN)


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


STAGE = Report
