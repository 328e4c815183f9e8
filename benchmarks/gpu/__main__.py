"""What the pipeline does on one GPU (H100 or H200): eight minutes, no network, no vLLM.

    python -m benchmarks.gpu.pack                 # where there is a network: wheels, 64 MiB at most
    python -m benchmarks.gpu [--pack FOLDER]      # on the machine with the GPU
    python -m benchmarks.gpu --thin               # tiny shapes on CPUs: does it run, what it needs

The machine has torch, transformers, peft and pyarrow; what else it lacks comes from the pack, which
is put on the path of these processes and installed nowhere. Each part runs in a process of its own
under a time limit of its own, and tells each figure at once on the standard error. The last line
of the standard output is a JSON object: `facts` (card, driver, versions), `parts` (figures of each,
and the error of one that failed), `on_card` (what each needs there), `packed` (what came from the
pack).

- `node_probe`: the look at a node that jobs begin with, and what products of matrices reach.
- `capped`: attention with a cap, flex forward and backward beside eager, heads as in Gemma 2.
- `memory`: what `rank_memory` reckons over what torch allocates (`estimated_over_peak`).
- `training`: tokens/s and MFU of `sft` without DeepSpeed, LFM2-1.2B's shape with random weights.
- `scoring`: questions with four choices a second, by transformers.
- `merging`: slerp of two checkpoints of that shape.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu.pack import FOLDER
from benchmarks.gpu.packed import Unpacked, put_on_path
from benchmarks.gpu.parts import PARTS, THIN_LEISURE, WHOLE_LIMIT_S, Part, chosen


def main() -> None:
    """Run the parts and print what came of them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--thin", action="store_true", help="tiny shapes, on CPUs")
    parser.add_argument("--pack", type=Path, default=FOLDER, help="folder of wheels")
    parser.add_argument("--work", type=Path, help="where to work: 9 GB; else in TMPDIR")
    names = [part.name for part in PARTS]
    parser.add_argument("--parts", nargs="*", default=[], choices=names, help="some of them only")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    with tempfile.TemporaryDirectory(prefix="hala-gpu-", dir=args.work) as folder:
        work = Path(folder)
        packed = put_on_path(args.pack, work / "site")
        measure(chosen(args.parts), "thin" if args.thin else "card", work, packed)


def leave(*_: object) -> None:
    """Leave as at Ctrl-C, which ends the part that runs with all that it started."""
    raise KeyboardInterrupt


def measure(parts: list[Part], size: str, work: Path, packed: Unpacked) -> None:
    """Run the parts. What is imported here may have come from the pack."""
    from benchmarks.common.machine import machine
    from benchmarks.gpu.facts import facts
    from benchmarks.gpu.need import need
    from benchmarks.gpu.run_parts import print_progress, run_part

    here = facts()
    if here.card is None and size == "card":
        sys.exit("no GPU was found by nvidia-smi; `--thin` runs tiny shapes on CPUs")
    leisure = THIN_LEISURE if size == "thin" else 1
    deadline, results = time.monotonic() + leisure * WHOLE_LIMIT_S, []
    try:
        for one in parts:
            part = one._replace(limit_s=leisure * one.limit_s)
            print_progress(f"{part.name}: {part.does}; {part.limit_s} s at most")
            results.append(run_part(part, size, work, deadline - time.monotonic()))
            print_progress(
                f"{part.name}: {results[-1].error or 'ended well'} after {results[-1].seconds} s"
            )
    except KeyboardInterrupt:
        # Whoever lends the machine may end this early: what was measured is told all the same.
        print_progress("told to leave")
    result = {
        "size": size,
        "facts": here.to_values(),
        "machine": machine(),
        "packed": packed._asdict(),
        "parts": [one.to_values() for one in results],
        "on_card": [need(part).to_values() for part in parts],
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
