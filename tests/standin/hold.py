"""Holds `prepare` in a job open until a test releases it by a file that it writes.

What is to be killed, preempted or looked at while it works must still be working then, however fast
the machine is. Held work continues in every other way: it writes its progress, commits what
is finished, and ends when requested. Engines are held by `wrapped_engine.HeldEngine`.
"""

from pathlib import Path
from typing import Any

from wrapped_engine import LIMIT_S, PAUSE_S

from benchmarks.common.waiting import wait_until
from hala_hpc.core.stage import UnitContext
from hala_hpc.stages.prepare import Prepare


def hold_preparing(release_file: Path) -> None:
    """Let `prepare` wait for the file once it has read its first rows and written none of them."""
    well = Prepare.run

    def run(self: Prepare, units: Any, out: UnitContext) -> None:
        report = out.report_progress

        def progress(**counts: float) -> None:
            report(**counts)
            wait_until(
                lambda: release_file.exists() or out.stop_requested,
                f"the file {release_file}",
                LIMIT_S,
                PAUSE_S,
            )

        out.report_progress = progress  # type: ignore[method-assign]
        well(self, units, out)

    Prepare.run = run  # type: ignore[method-assign]
