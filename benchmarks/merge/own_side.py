"""Our side of the benchmark in a process of its own: one pass, printed as a JSON line.

python -m benchmarks.merge.own_side BASE TUNED OUT METHOD T [T ...]
"""

import json
import sys
from pathlib import Path

from hala_hpc.engines.models.merging.layer_values import LayerValues
from hala_hpc.engines.models.merging.merge_pass import MergeTarget, Parents, merge_models
from hala_hpc.engines.models.merging.methods import METHODS, MethodSettings


def bytes_read() -> int:
    """Return the bytes that this process has read by system calls so far (Linux)."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def peak_gib() -> float:
    """Largest resident memory of this process (Linux).

    Not by `getrusage`: there it begins with that of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) / 2**20
    raise OSError("/proc/self/status names no VmHWM")


def main() -> None:
    """Make one model for each value."""
    base, tuned, out = map(Path, sys.argv[1:4])
    method = sys.argv[4]
    targets = []
    for t in sys.argv[5:]:
        value = LayerValues(rest=float(t))
        settings = {"method": method, "t" if "t" in METHODS[method].parameters else "scale": value}
        folder = out / f"t{t}"
        folder.mkdir(parents=True)
        parameters = MethodSettings.model_validate(settings).parameters(1)
        targets.append(MergeTarget(folder, parameters, "bfloat16"))
    import torch  # noqa: F401 - its files are not the models'

    before = bytes_read()
    merge_models(Parents(base, (tuned,)), targets, lambda: None)
    print(json.dumps({"bytes_read": bytes_read() - before, "peak_gib": peak_gib()}))


if __name__ == "__main__":
    main()
