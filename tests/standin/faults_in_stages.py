"""Stages that fail as stages may."""

import os
import signal
from collections.abc import Iterable

from hala_hpc.core.stage import UnitContext
from hala_hpc.stages.prepare import Prepare


def prepare_with_faults(faults: dict[str, str]) -> None:
    """Prepare fails first, or for ever."""
    well = Prepare.run

    def run(self: Prepare, units: Iterable[int], out: UnitContext) -> None:
        if "defect" in faults:
            print(1 // 0)
        if "killed" in faults and out.attempt.startswith("r0001-"):
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        held = bytearray(b"x") * (int(faults.get("memory", "0")) * 2**20)
        well(self, units, out)
        del held

    Prepare.run = run  # type: ignore[method-assign]
