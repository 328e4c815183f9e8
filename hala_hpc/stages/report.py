"""report: write one HTML page and one Markdown file with the results of other nodes."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.estimate import Estimate, EstimateInputs
from hala_hpc.core.files import write_text
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import NodeRef, StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts

HTML_FILE = "report.html"
MARKDOWN_FILE = "report.md"


class Settings(StageSettings):
    """Settings of report."""

    nodes: list[NodeRef] = Field(min_length=1)
    """`@node` of every node on the page, in the order of the page."""
    title: str = "Hala: results of a run"
    """Heading of the page."""
    resources: Resources = Resources(cpus_per_rank=1, mem_gb=2, timeout_min=10)
    """Resources of the job; it only reads summaries."""


class Report(Stage[Settings]):
    """A stage of one unit: the page."""

    name = "report"
    produces = "page"
    Settings = Settings

    def preflight(self) -> list[str]:
        """Find entries of `nodes` that are not node references."""
        return [
            f"nodes={name}: not a node reference; write @{name.lstrip('@')}"
            for name in self.settings.nodes
            if not name.startswith("@")
        ]

    def estimate(self, inputs: EstimateInputs) -> Estimate | None:
        """None: the page is small, and the job needs no GPU."""
        del inputs
        return None

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Read the node summaries and write both files."""
        from hala_hpc.engines.evaluation.render import render_report_html, render_report_markdown
        from hala_hpc.engines.evaluation.report import make_report_page

        found = [self.inputs.summary(node) for node in self.settings.nodes]
        page = make_report_page(self.settings.title, [summary for summary in found if summary])
        for unit in units:
            write_text(out.folder(unit) / HTML_FILE, render_report_html(page))
            write_text(out.folder(unit) / MARKDOWN_FILE, render_report_markdown(page))
            out.commit(unit)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that both files are complete and name every node."""
        for name, end in ((HTML_FILE, "</html>"), (MARKDOWN_FILE, "")):
            text = (folder / name).read_text(encoding="utf-8")
            missing = [node for node in self.settings.nodes if node[1:] not in text]
            if missing or not text.rstrip().endswith(end):
                raise UserError(f"unit {unit}: {name} is truncated or lacks {missing}", INTERNAL)
        return UnitCounts(details={"nodes": len(self.settings.nodes)})


STAGE = Report
