"""Read the results of a run with pyarrow, json and hashlib, without code of the package."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Contents:
    """The results of every node, comparable with those of another run of the same recipe."""

    rows: dict[str, list[str]]
    """Every row of every node in order, as JSON."""
    files: dict[str, dict[str, int]]
    """Bytes of the files that hold no rows."""
    faults: tuple[str, ...]
    """Differences between summaries and the disk."""

    def losses(self, whole: "Contents") -> list[str]:
        """Return the differences from an undamaged run."""
        lost = list(self.faults)
        for node, rows in whole.rows.items():
            found = self.rows.get(node, [])
            if found != rows:
                same = len(set(rows) & set(found))
                lost.append(f"{node}: {len(found)} rows, {same} of {len(rows)} as they were")
            if self.files.get(node) != whole.files[node]:
                lost.append(f"{node}: other files: {self.files.get(node)}")
        return lost


def contents_of(work: Path, nodes: tuple[str, ...]) -> Contents:
    """Read the results of some nodes; unreadable files are faults."""
    rows: dict[str, list[str]] = {}
    files: dict[str, dict[str, int]] = {}
    faults: list[str] = []
    for node in nodes:
        output = work / "latest" / node / "output"
        try:
            rows[node] = rows_of(output)
            others = [p for p in output.rglob("*") if p.is_file() and p.suffix != ".parquet"]
            files[node] = {str(p.relative_to(output)): p.stat().st_size for p in sorted(others)}
            faults += summary_faults(output)
        except (OSError, ValueError, KeyError) as error:
            faults.append(f"{node}: {type(error).__name__}: {error}")
    return Contents(rows, files, tuple(faults))


def rows_of(output: Path) -> list[str]:
    """Return all rows of the files of an output, each after the name of its file."""
    import pyarrow.parquet as pq

    return [
        f"{path.relative_to(output)}: {json.dumps(row, sort_keys=True, default=str)}"
        for path in sorted(output.rglob("*.parquet"))
        for row in pq.ParquetFile(path).read(use_threads=False).to_pylist()
    ]


def summary_faults(output: Path) -> list[str]:
    """Return where the summary of an output has other files, digests or counts."""
    summary: dict[str, Any] = json.loads((output.parent / "summary.json").read_bytes())
    found = {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in output.rglob("*")
        if path.is_file()
    }
    faults = []
    if summary["sha256"] != found:
        wrong = sorted(set(summary["sha256"].items()) ^ set(found.items()))
        faults.append(f"{output}: its summary has other digests: {wrong[0][0]}")
    if summary["rows_in"] != summary["rows_out"] + summary["rows_rejected"]:
        faults.append(f"{output}: rows in are not rows out and rejected")
    return faults
