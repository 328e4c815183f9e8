"""report: write one HTML page and one Markdown file with the results of other nodes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.estimate import Estimate, EstimateInputs
from hala_hpc.core.files import write_text
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import NodeRef, StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts

if TYPE_CHECKING:
    from hala_hpc.core.records import NodeSummary
    from hala_hpc.engines.evaluation.report import Table
    from hala_hpc.engines.evaluation.sweep_plot import SweepPlot

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
    version = 2
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
        summaries = [summary for summary in found if summary]
        tables, plots = self.read_evaluations(summaries)
        page = make_report_page(self.settings.title, summaries, tables, plots)
        for unit in units:
            write_text(out.folder(unit) / HTML_FILE, render_report_html(page))
            write_text(out.folder(unit) / MARKDOWN_FILE, render_report_markdown(page))
            out.commit(unit)

    def read_evaluations(
        self, summaries: "Sequence[NodeSummary]"
    ) -> "tuple[dict[str, list[Table]], list[SweepPlot]]":
        """Tables by node, and plots, from the items of the nodes that compare models."""
        from hala_hpc.engines.evaluation.item_tables import (
            EvaluationItems,
            item_tables,
            make_sweep_plot,
        )
        from hala_hpc.engines.evaluation.translation_table import translation_tables

        tables: dict[str, list[Table]] = {}
        plots: list[SweepPlot] = []
        for summary in summaries:
            folder = Path(self.inputs.path(f"@{summary.node}"))
            if summary.stage != "evaluate" or not folder.is_dir():
                continue
            tables[summary.node] = translation_tables(summary.node, folder)
            if (evaluation := EvaluationItems.read(summary.node, folder)) is not None:
                tables[summary.node] += item_tables(evaluation)
                if (plot := make_sweep_plot(evaluation)) is not None:
                    plots.append(plot)
        return tables, plots

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that both files are complete and name every node."""
        for name, end in ((HTML_FILE, "</html>"), (MARKDOWN_FILE, "")):
            text = (folder / name).read_text(encoding="utf-8")
            missing = [node for node in self.settings.nodes if node[1:] not in text]
            if missing or not text.rstrip().endswith(end):
                raise UserError(f"unit {unit}: {name} is truncated or lacks {missing}", INTERNAL)
        return UnitCounts(details={"nodes": len(self.settings.nodes)})


STAGE = Report
