"""Holds the work of a job open until a test gives its word: a file that the test writes.

What is to be killed, preempted or looked at while it works must still be working then, however fast
the machine is. Held work goes on in every other way: it gives signs of life, commits what is
finished, and leaves when it is asked to.
"""

import sys
import time
from pathlib import Path
from typing import Any

import hala_hpc.engines.generation.vllm.engine
from benchmarks.common.waiting import wait_until
from hala_hpc.core.stage import Out
from hala_hpc.engines.generation.vllm.engine import Completion
from hala_hpc.stages.prepare import Prepare

#: Seconds between two looks for the word.
PAUSE_S = 0.02
#: Longer than any test: what is held after that has nobody who will let it go.
LIMIT_S = 1800


def hold_preparing(word: Path) -> None:
    """Let `prepare` wait for the word once it has read its first rows and written none of them."""
    well = Prepare.run

    def run(self: Prepare, units: Any, out: Out) -> None:
        tell = out.progress

        def progress(**counts: float) -> None:
            tell(**counts)
            wait_until(lambda: word.exists() or out.stop, f"the word {word}", LIMIT_S, PAUSE_S)

        out.progress = progress  # type: ignore[method-assign]
        well(self, units, out)

    Prepare.run = run  # type: ignore[method-assign]


def hold_engine(word: Path, after: int, node: str) -> None:
    """Let the engine give no answer, once it gave so many in this process, until the word is there.

    Its steps end without one, as those of an engine that is in the middle of long answers. With
    `node` only for the node of that name.
    """
    # Whatever stands for the engine here, which may be a stand-in.
    generator: Any = hala_hpc.engines.generation.vllm.engine.Generator
    take_step = generator.step
    given, deadline = 0, time.monotonic() + LIMIT_S

    def step(self: Any) -> list[Completion]:
        nonlocal given
        if given >= after and is_meant(node) and not word.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not in {LIMIT_S} s: the word {word}")
            time.sleep(PAUSE_S)
            return []
        completions: list[Completion] = take_step(self)
        given += len(completions)
        return completions

    generator.step = step


def is_meant(node: str) -> bool:
    """Whether this process is an attempt at the node of that name; the empty name is any."""
    return not node or any(Path(word).name.startswith(f"{node}-") for word in sys.argv[1:2])
