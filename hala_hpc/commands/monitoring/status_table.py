"""Print the table of `status`."""

from datetime import datetime, timedelta

from hala_hpc.commands.monitoring.node_reasons import NodeReasonKind
from hala_hpc.commands.monitoring.node_status import NodeStatus
from hala_hpc.commands.text_table import text_table
from hala_hpc.core.estimate import format_hours

HEADS = ["node", "stage", "state", "units", "rows in", "out", "rejected", "progress", "left"]
#: Longer reasons are printed below the table.
MAX_CELL_LENGTH = 40


def print_status_table(nodes: list[NodeStatus]) -> None:
    """Print a row for each node, then what does not fit into a row, then the sums."""
    heads, rows = [*HEADS, "GPU h"], [table_row(node) for node in nodes]
    columns = [
        column
        for column in range(len(heads))
        if column < HEADS.index("progress") or any(row[column] for row in rows)
    ]
    print(text_table([[row[c] for c in columns] for row in rows], [heads[c] for c in columns]))
    missed = [node.name for node in nodes if only_missed(node)]
    notes = [note for node in nodes if not only_missed(node) for note in notes_of(node)]
    if missed:
        notes.append(f"not started, as nodes they depend on were not finished: {', '.join(missed)}")
    if notes:
        print("\n" + "\n".join(notes))
    done = sum(node.state == "done" for node in nodes)
    print(f"\n{done} of {len(nodes)} nodes are done{format_total_hours(nodes)}")


def table_row(node: NodeStatus) -> list[str]:
    """The cells of a node."""
    done = [node.rows_in, node.rows_out]
    progress_text = node.progress.describe() if node.progress else ""
    if not progress_text:
        reason = node.why.text
        progress_text = reason if len(reason) <= MAX_CELL_LENGTH else first_names(node)
    return [
        node.name,
        node.stage,
        node.state,
        f"{node.units_done}/{node.units}",
        *(str(count or "-") for count in done),
        format_rejected(node),
        progress_text,
        node.progress.format_time_left() if node.progress else "",
        format_gpu_hours(node),
    ]


def format_rejected(node: NodeStatus) -> str:
    """Format rejected rows; those rejected for their content separately, if there are both."""
    content = node.rows_rejected_content
    of_them = f" ({content} content)" if 0 < content < node.rows_rejected else ""
    return f"{node.rows_rejected or '-'}{of_them}"


def first_names(node: NodeStatus) -> str:
    """Format `waits for arabic and 5 more` if a node waits for many; empty for other reasons."""
    names = node.why.waits_for
    if len(names) < 2 or node.why.changes:
        return ""
    return f"waits for {names[0]} and {len(names) - 1} more"


def format_gpu_hours(node: NodeStatus) -> str:
    """Format spent and estimated GPU hours of a node: `3.20 of ~12`."""
    estimate = f"~{format_hours(node.gpu_hours_estimate)}" if node.gpu_hours_estimate else ""
    if node.gpu_hours is None:
        return estimate and f"0 of {estimate}"
    return f"{node.gpu_hours:.2f}{f' of {estimate}' if estimate else ''}"


def notes_of(node: NodeStatus) -> list[str]:
    """Lines about a node below the table: why it waits or failed, and its expected start."""
    reason = node.why.text
    if len(reason) > MAX_CELL_LENGTH:
        notes = [] if first_names(node) else [f"{node.name} {verb(node)}: {reason}"]
    elif reason and node.state == "running" and node.workers_waiting:
        notes = [f"{node.name}: {node.workers_waiting} more workers wait: {reason}"]
    else:
        notes = []
    if node.expected_start:
        notes.append(f"{node.name} is expected to start at {format_start(node.expected_start)}")
    return notes


def only_missed(node: NodeStatus) -> bool:
    """Whether a node has failed only because nodes that it depends on have."""
    return node.why.kind is NodeReasonKind.INPUT_FAILED and not node.why.changes


def verb(node: NodeStatus) -> str:
    """Format the state of a node as a verb."""
    if node.state == "running":
        more = node.workers_waiting
        return f"runs, and {more} more workers wait" if more else "runs"
    verbs = {"failed": "has failed", "damaged": "is damaged", "waiting": "waits"}
    return verbs.get(node.state, f"is {node.state}")


def format_start(start: str) -> str:
    """Format a start time with the time until then; with the date if it is not today."""
    moment = datetime.fromisoformat(start)
    now = datetime.now()
    left = timedelta(seconds=max(0, round((moment - now).total_seconds())))
    return f"{moment:%H:%M}{f' on {moment:%F}' if moment.date() != now.date() else ''} (in {left})"


def format_total_hours(nodes: list[NodeStatus]) -> str:
    """Format GPU hours of all nodes, if any are known, and their estimate."""
    counted = [node for node in nodes if node.gpu_hours is not None]
    estimate = sum(node.gpu_hours_estimate or 0.0 for node in nodes)
    if not counted and not estimate:
        return ""
    unknown = sum(node.gpu_hours_estimate is None for node in counted)
    besides = f", and {unknown} nodes without an estimate" if unknown else ""
    of = f" of about {format_hours(estimate)} estimated{besides}" if estimate else ""
    return f"; {sum(node.gpu_hours or 0.0 for node in counted):.2f} GPU hours are spent{of}"
