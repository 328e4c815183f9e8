"""Stages that fail as stages may."""

import os
import signal
from collections.abc import Iterable
from typing import Any

from standin_engine import StandInGenerator

import hala_hpc.engines.generation.vllm.engine
from hala_hpc.core.stage import Out
from hala_hpc.stages.prepare import Prepare
from hala_hpc.stages.translate import Translate


def prepare_with_faults(words: dict[str, str]) -> None:
    """Prepare fails first, or for ever."""
    well = Prepare.run

    def run(self: Prepare, units: Iterable[int], out: Out) -> None:
        if "defect" in words:
            print(1 // 0)
        if "killed" in words and out.attempt.startswith("r0001-"):
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        held = bytearray(b"x") * (int(words.get("memory", "0")) * 2**20)
        well(self, units, out)
        del held

    Prepare.run = run  # type: ignore[method-assign]


def translate_with_faults(most_rows: int) -> None:
    """The stand-in translates where no more rows than these are at once."""
    hala_hpc.engines.generation.vllm.engine.Generator = StandInGenerator  # type: ignore[assignment,misc]
    well = Translate.run

    def run(self: Any, units: Iterable[int], out: Out) -> None:
        rows = self.settings.engine.max_num_seqs
        if rows is None or rows > most_rows:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        well(self, units, out)

    Translate.run = run  # type: ignore[method-assign]
