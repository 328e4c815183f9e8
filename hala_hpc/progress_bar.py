"""A bar for each node while it runs on this machine: rows, tokens/s and the time that is left."""

import sys
import time
from typing import Any

from tqdm import tqdm

from hala_hpc.core.artifact import Artifact


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
        words = self.artifact.progress()
        units = len(self.artifact.done_units())
        done, whole, unit = self.rows(words, units) or steps(words) or (units, self.units, "unit")
        self.bar.n, self.bar.total, self.bar.unit = done, whole, unit
        self.bar.set_postfix_str(postfix(words), refresh=False)
        self.bar.refresh()

    def rows(self, words: list[dict[str, Any]], units: int) -> tuple[float, float, str] | None:
        """Rows done and in all; None where the workers tell of none.

        What former rounds did is known by the units that have their mark.
        """
        whole = max((word.get("rows_of_node", 0) for word in words), default=0)
        if not whole:
            return None
        done = sum(word.get("rows", 0) for word in words)
        return max(done, whole * units // self.units), whole, "row"

    def finish(self, state: str) -> None:
        """One line that stays: state, rows and seconds."""
        self.bar.close()
        summary = self.artifact.summary() or {}
        seconds = time.monotonic() - self.began
        counts = ""
        if summary.get("rows_in"):
            counts = (
                f", {summary['rows_in']} rows in, {summary['rows_out']} out, "
                f"{summary['rows_rejected']} rejected"
            )
        if summary.get("tokens_out") and summary.get("seconds"):
            counts += f", {summary['tokens_out'] / summary['seconds']:.0f} tokens/s"
        print(f"{self.title}: {state} in {seconds:.1f} s{counts}", flush=True)


def steps(words: list[dict[str, Any]]) -> tuple[float, float, str] | None:
    """Training steps done and in all; None where the workers tell of none."""
    whole = sum(word.get("steps_total", 0) for word in words)
    return (sum(word.get("step", 0) for word in words), whole, "step") if whole else None


def postfix(words: list[dict[str, Any]]) -> str:
    """`1234 tokens/s, loss 2.31`, of what the workers tell."""
    parts = []
    seconds = max((word["time"] - word["began"] for word in words), default=0)
    tokens = sum(word.get("tokens", 0) for word in words)
    if tokens and seconds:
        parts.append(f"{tokens / seconds:.0f} tokens/s")
    losses = [word["loss"] for word in words if "loss" in word]
    if losses:
        parts.append(f"loss {losses[-1]:.3f}")
    return ", ".join(parts)
