"""One part in a process of its own: `python -m benchmarks.gpu.one_part NAME card|thin WORK`.

Every figure is written at once as a line of the part's file, so that a part that is ended keeps its
figures.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.scale import CARD, SMALL, Place
from hala_hpc.core.environment import set_job_environment


def figures_file(work: Path, name: str) -> Path:
    """Return the file for the figures of a part, one JSON line each."""
    return work / f"figures-{name}.jsonl"


def main(name: str, size: str, work: Path) -> None:
    """Run a part."""
    set_job_environment()
    if size == "thin":
        # Also where there is a GPU.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    place = Place(SMALL if size == "thin" else CARD, work)
    with figures_file(work, name).open("a", encoding="utf-8") as file:
        for found in import_module(f"benchmarks.gpu.{name}").run(place):
            file.write(f"{found.line()}\n")
            file.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    sys.stdout.flush()
    # Threads of libraries can block a normal exit.
    os._exit(0)
