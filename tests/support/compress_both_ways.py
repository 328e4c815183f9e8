"""Compress a model as a whole and part by part, in the environment `quantize`; report on both.

    compress_both_ways.py MODEL TARGET PART_BYTES

Two attempts make the parts: the first one is stopped after two of them. The last line of output is
a JSON object with the peak bytes of tensors of each way, and the parts of each attempt.
"""

import json
import sys
from pathlib import Path

from compressed_tensors.entrypoints.convert.memory import TensorProfiler

from hala_hpc.engines.models.compression import CompressionTask, compress, compress_whole


class Attempt:
    """A unit context that requests a stop after a number of parts."""

    def __init__(self, base: Path, parts: int) -> None:
        self.base, self.parts, self.seen = base, parts, list[str]()

    def state_dir(self, unit: int) -> Path:
        folder = self.base / "kept" / str(unit)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def report_progress(self, **counts: float) -> None:
        self.seen.append(f"{counts['step']:g}/{counts['steps_total']:g}")

    @property
    def stop_requested(self) -> bool:
        return len(self.seen) >= self.parts


def main() -> None:
    source, target, part_bytes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    task = CompressionTask(source, "FP8_DYNAMIC", ("lm_head",), part_bytes)
    for way in ("whole", "parts"):
        (target / way).mkdir(parents=True)
    with TensorProfiler(catch_exception=False) as of_whole:
        compress_whole(task, target / "whole")
    attempts = [Attempt(target, 2), Attempt(target, 1000)]
    ended = [compress(task, target / "parts", attempts[0])]  # type: ignore[arg-type]
    files = {path: path.stat().st_mtime_ns for path in attempts[0].state_dir(0).iterdir()}
    with TensorProfiler(catch_exception=False) as of_parts:
        ended.append(compress(task, target / "parts", attempts[1]))  # type: ignore[arg-type]
    report = {
        "ended": ended,
        "seen": [one.seen for one in attempts],
        "redone": [path.name for path, at in files.items() if path.stat().st_mtime_ns != at],
        "peak": {
            way: {str(device): size for device, size in profile.memory_peak.items()}
            for way, profile in (("whole", of_whole), ("parts", of_parts))
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
