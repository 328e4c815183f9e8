"""Prints the device that a launcher names, and which: `launcher_device.py [launcher]`.

Without a word it is the launcher of a lab's own defaults. Run by env/setup with a bare Python, from
the clone; ends with 1 where nothing is named.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hala_hpc.commands.defaults import read_defaults
from hala_hpc.core.builds import DEVICE_VARIABLE, DEVICES
from hala_hpc.core.paths import find_toml, read_toml


def main() -> int:
    """Look it up; 0 where it is one of the two."""
    name = " ".join(sys.argv[1:]) or read_defaults().launcher
    if not name:
        return 1
    path = find_toml("launcher", name)
    device = read_toml(path).get("environment", {}).get(DEVICE_VARIABLE)
    if device not in DEVICES:
        return 1
    print(device, f"launcher {path} says so")
    return 0


if __name__ == "__main__":
    sys.exit(main())
