"""Print the device that a launcher sets, and the launcher: `launcher_device.py [launcher]`.

Without an argument it is the launcher of the user's defaults. Run by env/setup with a bare Python,
from the clone; exits with 1 if no device is set.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hala_hpc.commands.defaults import read_defaults
from hala_hpc.core.builds import DEVICE_VARIABLE, DEVICES
from hala_hpc.core.paths import find_toml, read_toml


def main() -> int:
    """Print the device; return 0 if it is cpu or cuda, else 1."""
    name = " ".join(sys.argv[1:]) or read_defaults().launcher
    if not name:
        return 1
    path = find_toml("launcher", name)
    device = read_toml(path).get("environment", {}).get(DEVICE_VARIABLE)
    if device not in DEVICES:
        return 1
    print(device, f"set by launcher {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
