"""Write the page of a run at any time: `status work=… format=html`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hala_hpc.commands.monitoring.node_status import NodeStatus
from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.printable import format_command
from hala_hpc.core.records import NodeConfig, NodeSummary
from hala_hpc.core.run import RunNode
from hala_hpc.engines.reporting.hours import HourPrice
from hala_hpc.engines.reporting.make_page import (
    PageRequest,
    find_launch_command,
    make_run_page,
    read_item_tables,
)
from hala_hpc.engines.reporting.node_facts import DONE, NodeFacts
from hala_hpc.engines.reporting.page_files import HTML_FILE, write_page

#: Folder of the page in the work folder.
PAGE_FOLDER = "page"
#: Stage whose settings the page takes over, and which is not on it.
REPORT = "report"
#: Libraries of the environment main that the page needs.
PAGE_LIBRARIES = ("jinja2", "matplotlib", "nltk", "pyarrow", "sacrebleu")


@dataclass(frozen=True)
class StatusOfNode:
    """A node of the run beside its status."""

    node: RunNode
    status: NodeStatus


def write_status_page(work: Path, nodes: Sequence[RunNode], statuses: Sequence[NodeStatus]) -> Path:
    """Write the page and the files beside it; return its path.

    Raises: UserError (CONFIG) in an environment without the libraries for it.
    """
    require_page_libraries(work, nodes)
    by_name = {status.name: status for status in statuses}
    found = [StatusOfNode(node, by_name[node.name]) for node in nodes if node.name in by_name]
    facts = [make_node_facts(one) for one in found if one.node.stage != REPORT]
    settings = find_report_settings(nodes)
    price = settings.get("gpu_hour_price")
    request = PageRequest(
        str(settings.get("title") or f"Run in {work.name}"),
        facts,
        find_launch_command(work),
        settings.get("published") or {},
        None if price is None else HourPrice(float(price), str(settings.get("currency") or "")),
        read_item_tables(facts),
        work,
    )
    write_page(make_run_page(request), work / PAGE_FOLDER)
    return work / PAGE_FOLDER / HTML_FILE


def require_page_libraries(work: Path, nodes: Sequence[RunNode]) -> None:
    """Raise UserError (CONFIG) with the command in the environment main if a library is missing."""
    missing = [name for name in PAGE_LIBRARIES if find_spec(name) is None]
    if not missing:
        return
    rounds = (node.artifact.newest_round_if_valid() for node in nodes)
    python = next(
        (newest.spec.launcher.python_of("main") for newest in rounds if newest), ".venv/bin/python"
    )
    line = format_command("status", f"work={work}", "format=html")
    raise UserError(
        f"format=html: this Python has no {', '.join(missing)}; run it in the environment main: "
        f"{line.replace('python', python, 1)}",
        CONFIG,
    )


def make_node_facts(one: StatusOfNode) -> NodeFacts:
    """What the page knows about a node; a damaged record counts as absent, as its state says."""
    node, status = one.node, one.status
    artifact = node.artifact
    summary = NodeSummary.read_if_valid(artifact.summary_file) if status.state == DONE else None
    return NodeFacts(
        node.name,
        node.stage,
        DONE if summary else describe_state(status),
        summary,
        NodeConfig.read_if_valid(artifact.config_file),
        artifact.output if summary else None,
        status.gpu_hours,
        status.gpu_hours_estimate,
    )


def describe_state(status: NodeStatus) -> str:
    """The state of a node, with its units and the reason if there is one."""
    text = f"{status.state}, {status.units_done} of {status.units} units"
    return f"{text}; {status.why.text}" if status.why.text else text


def find_report_settings(nodes: Sequence[RunNode]) -> Mapping[str, Any]:
    """Settings of the first report of the run that was launched; empty if there is none."""
    for node in nodes:
        if node.stage == REPORT:
            try:
                config = node.artifact.config()
            except Damaged:
                continue
            if config is not None:
                return config.settings
    return {}
