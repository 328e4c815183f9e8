"""A bar for each node while it runs on this machine: rows, tokens/s and the time that is left."""

import sys
import time

from tqdm import tqdm

from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.progress import summarize_progress


class NodeBar:
    """Shows what the workers of one node say of their progress."""

    def __init__(self, title: str, artifact: Artifact, units: int) -> None:
        self.title, self.artifact, self.units = title, artifact, units
        self.began = time.monotonic()
        # A log file gets one line at the end instead of a thousand on the way.
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
        """Read the workers' words and redraw."""
        if self.bar.disable:
            return
        now = summarize_progress(self.artifact, self.units)
        self.bar.n, self.bar.total, self.bar.unit = now.done, now.whole, now.unit
        self.bar.set_postfix_str(", ".join(now.speed()), refresh=False)
        self.bar.refresh()

    def finish(self, state: str) -> None:
        """One line that stays: state, rows and seconds."""
        self.bar.close()
        summary = self.artifact.summary()
        seconds = time.monotonic() - self.began
        counts = ""
        if summary and summary.rows_in:
            counts = (
                f", {summary.rows_in} rows in, {summary.rows_out} out, "
                f"{summary.rows_rejected} rejected"
            )
        if summary and summary.tokens_out and summary.seconds:
            counts += f", {summary.tokens_out / summary.seconds:.0f} tokens/s"
        print(f"{self.title}: {state} in {seconds:.1f} s{counts}", flush=True)
