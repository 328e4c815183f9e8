"""Holds `prepare` in a job open until a test gives its word: a file that the test writes.

What is to be killed, preempted or looked at while it works must still be working then, however fast
the machine is. Held work goes on in every other way: it gives signs of life, commits what is
finished, and leaves when it is asked to. Engines are held by `wrapped_engine.HeldEngine`.
"""

from pathlib import Path
from typing import Any

from wrapped_engine import LIMIT_S, PAUSE_S

from benchmarks.common.waiting import wait_until
from hala_hpc.core.stage import UnitContext
from hala_hpc.stages.prepare import Prepare


def hold_preparing(word: Path) -> None:
    """Let `prepare` wait for the word once it has read its first rows and written none of them."""
    well = Prepare.run

    def run(self: Prepare, units: Any, out: UnitContext) -> None:
        tell = out.report_progress

        def progress(**counts: float) -> None:
            tell(**counts)
            wait_until(
                lambda: word.exists() or out.stop_requested, f"the word {word}", LIMIT_S, PAUSE_S
            )

        out.report_progress = progress  # type: ignore[method-assign]
        well(self, units, out)

    Prepare.run = run  # type: ignore[method-assign]
