"""The faults that HALA_FAULT names, for the jobs of a test; nothing else changes.

`defect`: preparing a corpus divides by zero. `killed`: it kills its supervisor in the first round.
`memory=1200`: it takes so many MiB first. `gpu_memory=8`: with more rows at once
than so many the stand-in does not start, with torch's message. `bad_nodes=node1+node2`: there are
fake GPUs, and those of these nodes have errors; `fake_gpus=`: there are fake GPUs, all good;
`fake_gpus=12.4`: and a driver for this CUDA.

`hold=FILE`: preparing a corpus waits until that file is there. `hold=FILE after=40`: instead, an
engine of `job_engines.py` gives 40 answers and waits.
"""

import os
from pathlib import Path


def fault_settings() -> dict[str, str]:
    """The faults of this process, each with its value."""
    return dict(pair.partition("=")[::2] for pair in os.environ.get("HALA_FAULT", "").split())


def meet_faults() -> None:
    """Let this process meet its faults, but those of engines."""
    faults = fault_settings()
    if {"defect", "killed", "memory"} & faults.keys():
        from faults_in_stages import prepare_with_faults

        prepare_with_faults(faults)
    if "hold" in faults and "after" not in faults:
        from hold import hold_preparing

        hold_preparing(Path(faults["hold"]))
    if {"bad_nodes", "fake_gpus"} & faults.keys():
        from fake_gpus import use_fake_gpus

        use_fake_gpus(faults.get("bad_nodes", "").split("+"), faults.get("fake_gpus", ""))
