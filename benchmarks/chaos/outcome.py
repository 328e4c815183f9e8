"""Compare a finished run with its input and with an undisturbed run.

Reads Parquet with pyarrow, JSON with json, digests with hashlib; shares no code with the product.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.node_folder import NodeFolder, node_folders
from benchmarks.chaos.pipeline import NODES
from benchmarks.common.rows_check import RowsCheck, left_over

Row = dict[str, Any]
#: Summary fields that must equal those of the undisturbed run.
COUNTS = ("rows_in", "rows_out", "rows_rejected", "rejected", "units", "fingerprint")
KINDS = ("lost", "duplicated", "torn", "changed", "moved", "made_up", "wrong_counts")


@dataclass
class Checked:
    """The checked rows of one run."""

    rows: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str]] = field(default_factory=list)
    """Kind and place."""

    def note(self, kind: str, text: str, many: int = 1) -> None:
        """Record wrong rows or files."""
        self.rows[kind] += many
        self.faults.append((kind, text))


def check(work: Path, calm: Path) -> Checked:
    """Compare every node of a finished run with the same node of the undisturbed run."""
    found = Checked()
    nodes, others = node_folders(work), node_folders(calm)
    for name in NODES:
        node, other = nodes.get(name), others[name]
        if node is None or not node.is_done:
            found.note("unfinished", name)
            continue
        check_files(node, found)
        for key in COUNTS:
            if node.summary.get(key) != other.summary.get(key):
                found.note("wrong_counts", f"{name}: {key} is {node.summary.get(key)}")
        for path in left_over(node.folder):
            found.note("left_over", f"{name}: {path}")
        if name != "page":
            check_rows(node, other, found)
    arabic, left = nodes.get("arabic"), nodes.get("left")
    if arabic and left and arabic.is_done:
        check_translation(left.folder / "output", arabic.folder, others["arabic"].folder, found)
    page = nodes.get("page")
    if page and page.is_done:
        html = (page.folder / "output" / "report.html").read_text()
        if not html.rstrip().endswith("</html>"):
            found.note("torn", "page: report.html is cut")
    return found


def check_files(node: NodeFolder, found: Checked) -> None:
    """Check that the output has exactly the files of its summary, with these digests."""
    output, listed = node.folder / "output", node.summary.get("files") or {}
    digests = node.summary.get("sha256") or {}
    there = {str(p.relative_to(output)): p for p in output.rglob("*") if p.is_file()}
    if there.keys() != listed.keys() or not listed or digests.keys() != listed.keys():
        found.note("torn", f"{node.name}: files {sorted(there)}, listed {sorted(listed)}")
    for name in there.keys() & listed.keys():
        content = there[name].read_bytes()
        if (len(content), hashlib.sha256(content).hexdigest()) != (listed[name], digests.get(name)):
            found.note("torn", f"{node.name}: {name} is not the file that was listed")


def check_rows(node: NodeFolder, other: NodeFolder, found: Checked) -> None:
    """Check accepted and rejected rows: each once, in order, with the same content."""
    for side in ("", "rejected"):
        mine, theirs = rows_of(node, side, found), rows_of(other, side, found)
        ids, wanted = (Counter(row["id"] for row in rows) for rows in (mine, theirs))
        if lost := wanted - ids:
            found.note("lost", f"{node.name} {side}: {sorted(lost)[:3]}", lost.total())
        if more := ids - wanted:
            found.note("duplicated", f"{node.name} {side}: {sorted(more)[:3]}", more.total())
        if ids == wanted and mine != theirs:
            found.note("changed", f"{node.name} {side}: other content or another order")
        found.rows["rejected" if side else "out"] += len(mine)


def rows_of(node: NodeFolder, side: str, found: Checked) -> list[Row]:
    """Return the rows of one side of an output, in the order of its files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Row] = []
    for path in sorted((node.folder / "output" / side).glob("part-*.parquet")):
        try:
            rows += pq.read_table(path).to_pylist()
        except (pa.ArrowException, OSError) as error:
            found.note("torn", f"{path}: {error}")
    return rows


def check_translation(given: Path, artifact: Path, calm: Path, found: Checked) -> None:
    """Check ids (in = out + rejected), unchanged sources, and the stand-in's letters."""
    checked = RowsCheck(given, artifact, by_letters=True).run(like=calm)
    found.rows["in"] += checked.rows_in
    for kind in KINDS:
        if many := getattr(checked, kind):
            found.note(kind, f"arabic: {checked.faults[:3]}", many)
