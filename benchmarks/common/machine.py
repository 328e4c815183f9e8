"""The machine that a benchmark ran on."""

import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Facts of this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    load = round(os.getloadavg()[0], 2)
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(), "load": load}
