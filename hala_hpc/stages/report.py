"""report: write one HTML page and one Markdown file with the results of other nodes."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.estimate import Estimate, EstimateInputs
from hala_hpc.core.files import write_text
from hala_hpc.core.records import NodeSummary
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import NodeRef, StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts

if TYPE_CHECKING:
    from hala_hpc.engines.reporting.make_page import PageRequest

HTML_FILE = "report.html"
MARKDOWN_FILE = "report.md"


class Settings(StageSettings):
    """Settings of report."""

    nodes: list[NodeRef] = Field(min_length=1)
    """`@node` of every node on the page, in the order of the page."""
    title: str = "Hala: results of a run"
    """Heading of the page."""
    published: dict[str, dict[str, float]] = Field(default={})
    """Published scores to compare with, by the name of their model, then by task or score as the
    page names it; in percent. They have columns of their own, marked as published."""
    gpu_hour_price: NonNegativeFloat | None = None
    """Price of a GPU hour, for the cost on the page; unset leaves the cost out."""
    currency: str = ""
    """Currency of `gpu_hour_price`, as the page writes it."""
    resources: Resources = Resources(cpus_per_rank=1, mem_gb=2, timeout_min=10)
    """Resources of the job; it reads summaries, and some rows of each corpus."""


class Report(Stage[Settings]):
    """A stage of one unit: the page."""

    name = "report"
    version = 3
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
        """Read the nodes' records and write the page, the files beside it, and the Markdown."""
        from hala_hpc.engines.evaluation.render import render_report_markdown
        from hala_hpc.engines.evaluation.report import make_report_page
        from hala_hpc.engines.reporting.make_page import make_run_page
        from hala_hpc.engines.reporting.page_files import write_page

        summaries = self._summaries()
        request = self._request(summaries)
        page = make_run_page(request)
        markdown = make_report_page(
            self.settings.title, list(summaries.values()), request.item_tables
        )
        for unit in units:
            write_text(out.folder(unit) / MARKDOWN_FILE, render_report_markdown(markdown))
            write_page(page, out.folder(unit))
            out.commit(unit)

    def _summaries(self) -> dict[str, NodeSummary]:
        """Summaries by node reference, in the order of the page."""
        found = {node: self.inputs.summary(node) for node in self.settings.nodes}
        return {node: summary for node, summary in found.items() if summary}

    def _request(self, summaries: dict[str, NodeSummary]) -> "PageRequest":
        """What the page is about."""
        from hala_hpc.engines.reporting.hours import HourPrice
        from hala_hpc.engines.reporting.make_page import (
            PageRequest,
            find_launch_command,
            read_item_tables,
        )
        from hala_hpc.engines.reporting.node_facts import read_node_facts

        settings = self.settings
        outputs = {node: Path(self.inputs.path(node)) for node in summaries}
        works = [output.parent.parent for output in outputs.values()]
        price = settings.gpu_hour_price
        facts = [read_node_facts(outputs[node], summary) for node, summary in summaries.items()]
        return PageRequest(
            settings.title,
            facts,
            find_launch_command(works[0]) if works else "",
            settings.published,
            None if price is None else HourPrice(price, settings.currency),
            read_item_tables(facts),
            works[0] if works else None,
        )

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that both files are complete and name every node."""
        for name, end in ((HTML_FILE, "</html>"), (MARKDOWN_FILE, "")):
            text = (folder / name).read_text(encoding="utf-8")
            missing = [node for node in self.settings.nodes if node[1:] not in text]
            if missing or not text.rstrip().endswith(end):
                raise UserError(f"unit {unit}: {name} is truncated or lacks {missing}", INTERNAL)
        return UnitCounts(details={"nodes": len(self.settings.nodes)})


STAGE = Report
