"""Progress bar of a node that runs on this machine: rows, tokens/s and remaining time."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.progress import summarize_progress

#: Files that are named in the last line.
LISTED_FILES = 5


class NodeBar:
    """Shows the progress that the workers of one node report."""

    def __init__(self, title: str, artifact: Artifact, units: int) -> None:
        self.title, self.artifact, self.units = title, artifact, units
        self.began = time.monotonic()
        # In a log file, one line at the end instead of a thousand while it runs.
        self.bar = tqdm(
            total=units,
            desc=title,
            unit="unit",
            disable=not sys.stderr.isatty(),
            leave=False,
            dynamic_ncols=True,
        )

    def __enter__(self) -> "NodeBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def update(self) -> None:
        """Read the progress of the workers and redraw."""
        if self.bar.disable:
            return
        now = summarize_progress(self.artifact, self.units)
        self.bar.n, self.bar.total, self.bar.unit = now.done, now.whole, now.unit
        self.bar.set_postfix_str(", ".join(now.speed()), refresh=False)
        self.bar.refresh()

    def finish(self, state: str) -> None:
        """Print one permanent line: state, rows and seconds."""
        self.bar.close()
        summary = self.artifact.summary()
        seconds = time.monotonic() - self.began
        counts = ""
        if summary and summary.rows_in:
            counts = (
                f", {summary.rows_in} rows in, {summary.rows_out} out, "
                f"{summary.rows_rejected} rejected"
            )
        if summary and isinstance(summary.details, dict) and "files_unread" in summary.details:
            counts += describe_files(summary.details)
        if summary and summary.tokens_out and summary.seconds:
            counts += f", {summary.tokens_out / summary.seconds:.0f} tokens/s"
        print(f"{self.title}: {state} in {seconds:.1f} s{counts}", flush=True)


def describe_files(details: Mapping[str, Any]) -> str:
    """Format the numbers of files that a stage read and did not read, and the first of these."""
    text = f", {details['files_read']} files read, {details['files_unread']} not read"
    if details["unread"]:
        text += f": {', '.join(details['unread'][:LISTED_FILES])}"
    return text
