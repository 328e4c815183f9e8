"""Benchmarks of the pipeline on one GPU (H100 or H200): eight minutes, no network, no vLLM.

    python -m benchmarks.gpu.pack                 # where there is a network: wheels, up to 64 MiB
    python -m benchmarks.gpu [--pack FOLDER]      # on the machine with the GPU
    python -m benchmarks.gpu --thin               # tiny shapes on CPUs: does it run, what it needs

The machine has torch, transformers, peft and pyarrow. Other packages come from the pack, which is
put on the path of these processes and installed nowhere. Each part runs in its own process with its
own time limit, and prints each figure at once on stderr. The last line of stdout is a JSON object:
`facts` (card, driver, versions), `parts` (figures of each, and the error of a failed one),
`on_card` (requirements of each on the card), `packed` (what came from the pack).

- `node_probe`: the node check at the start of jobs, and the speed of matrix products.
- `capped`: attention with a cap, flex forward and backward beside eager, heads as in Gemma 2.
- `memory`: ratio of the estimate of `rank_memory` to torch's allocation (`estimated_over_peak`).
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
    """Run the parts and print their results."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--thin", action="store_true", help="tiny shapes on CPUs")
    parser.add_argument("--pack", type=Path, default=FOLDER, help="folder of wheels")
    parser.add_argument("--work", type=Path, help="folder for 9 GB of files; default: in TMPDIR")
    names = [part.name for part in PARTS]
    parser.add_argument("--parts", nargs="*", default=[], choices=names, help="only these parts")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    with tempfile.TemporaryDirectory(prefix="hala-gpu-", dir=args.work) as folder:
        work = Path(folder)
        packed = put_on_path(args.pack, work / "site")
        measure(chosen(args.parts), "thin" if args.thin else "card", work, packed)


def leave(*_: object) -> None:
    """Exit as after Ctrl-C, which ends the running part and its processes."""
    raise KeyboardInterrupt


def measure(parts: list[Part], size: str, work: Path, packed: Unpacked) -> None:
    """Run the parts. The imports in this function may come from the pack."""
    from benchmarks.common.machine import machine
    from benchmarks.gpu.facts import facts
    from benchmarks.gpu.need import need
    from benchmarks.gpu.run_parts import print_progress, run_part

    here = facts()
    if here.card is None and size == "card":
        sys.exit("nvidia-smi found no GPU; `--thin` runs tiny shapes on CPUs")
    leisure = THIN_LEISURE if size == "thin" else 1
    deadline, results = time.monotonic() + leisure * WHOLE_LIMIT_S, []
    try:
        for one in parts:
            part = one._replace(limit_s=leisure * one.limit_s)
            print_progress(f"{part.name}: {part.does}; limit {part.limit_s} s")
            results.append(run_part(part, size, work, deadline - time.monotonic()))
            print_progress(
                f"{part.name}: {results[-1].error or 'succeeded'} after {results[-1].seconds} s"
            )
    except KeyboardInterrupt:
        # The time on the machine may end early: the figures so far are printed in any case.
        print_progress("interrupted")
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
