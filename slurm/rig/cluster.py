"""The folder of a cluster: requirements of the machine, and the configuration written there."""

import json
import os
import shutil
import socket
import stat
import string
import sys
from pathlib import Path

from rig.errors import RigError, print_message

NODES = ["node1", "node2", "node3", "node4"]
GPUS_PER_NODE = 8
#: File that marks a folder as ours: the values of the templates.
VALUES_FILE = "minislurm.json"
#: Debian and Ubuntu package of each program.
PACKAGES = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
    "sbatch": "slurm-client",
}
#: Installs them without starting their own daemons, which would conflict with ours.
INSTALL = f"sudo {Path(__file__).resolve().parents[2] / 'env' / 'system-packages'} install"
#: Maximum length in bytes: the name of a Unix socket has at most 107 bytes.
LONGEST_FOLDER = 80
#: Below the kernel's ephemeral ports, above those of well-known services.
PORTS = range(6900, 10000)


def default_folder() -> Path:
    """MINISLURM_DIR, or a folder in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("MINISLURM_DIR") or cache / "minislurm")


def check_root() -> None:
    """Check that this process is root, as SLURM's daemons start jobs of other users."""
    if os.geteuid() != 0:
        raise RigError("SLURM's daemons need root; run: sudo -E " + " ".join(sys.argv), 77)


def check_machine(folder: Path) -> None:
    """Check packages and the folder before anything is written."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = {package for program, package in PACKAGES.items() if not shutil.which(program)}
    if missing:
        raise RigError(
            f"packages are missing: {', '.join(sorted(missing))}; run: {INSTALL}, which installs "
            "them and starts no service",
            69,
        )
    name = str(folder)
    odd = not name.isprintable() or set(name) & set(" %#,;$\"'\\")
    if odd or len(name.encode()) > LONGEST_FOLDER:
        raise RigError(
            f"{name!r} is longer than {LONGEST_FOLDER} bytes or has characters that SLURM's "
            "configuration cannot hold; run: export MINISLURM_DIR=/tmp/minislurm",
            78,
        )
    check_ours(folder)


def check_ours(folder: Path) -> None:
    """Refuse a folder that has other files."""
    if folder.exists() and any(folder.iterdir()) and not (folder / VALUES_FILE).exists():
        raise RigError(f"{folder} has other files; set MINISLURM_DIR to another folder", 73)


def write(folder: Path, proctrack: str, memory: str = "counted") -> None:
    """Write the configuration, the key, the device files and the daemons' folders.

    `memory`: counted, or enforced by control groups, which then also track processes.
    """
    is_enforced = memory == "enforced"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # jobs of other users need munge's socket
    ports = free_ports(2 + len(NODES))
    values = {
        "folder": str(folder),
        "host": socket.gethostname().split(".")[0],
        "slurmctld_port": str(ports[0]),
        "slurmdbd_port": str(ports[1]),
        "slurmd_ports": f"{ports[2]}-{ports[-1]}",
        "proctrack": "cgroup" if is_enforced else proctrack,
        "task": "cgroup" if is_enforced else "none",
        "constrain": "yes" if is_enforced else "no",
    }
    (folder / VALUES_FILE).write_text(json.dumps(values, indent=1) + "\n")
    for template in templates():
        text = string.Template(template.read_text()).substitute(values).encode()
        write_bytes(folder / template.name, text, 0o600 if "dbd" in template.name else 0o644)
    write_bytes(folder / "munge.key", os.urandom(128), 0o600)
    for name in ["slurmctld", *NODES]:
        (folder / name).mkdir()
    for number in range(GPUS_PER_NODE):
        make_device(folder / f"gpu{number}")


def templates() -> list[Path]:
    """Configuration files of the daemons with placeholders."""
    return [p for p in Path(__file__).parent.iterdir() if p.suffix in (".cnf", ".conf", ".sql")]


def read_values(folder: Path) -> dict[str, str]:
    """Read the values of the templates."""
    values: dict[str, str] = json.loads((folder / VALUES_FILE).read_text())
    return values


def write_bytes(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is private until it has its final mode."""
    path.touch(0o600, exist_ok=False)
    path.write_bytes(content)
    path.chmod(mode)


def make_device(path: Path) -> None:
    """Make a device file with the numbers of /dev/null; a plain file if mknod is forbidden."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        print_message(f"mknod is forbidden here: {path} is a plain file")
        path.touch()


def free_ports(count: int) -> range:
    """Find consecutive free ports."""
    first = PORTS.start + os.getpid() % 60 * 50
    for start in [*range(first, PORTS.stop - count, count), *range(PORTS.start, first, count)]:
        ports = range(start, start + count)
        if all(is_free(port) for port in ports):
            return ports
    raise RigError(f"no {count} free ports between {PORTS.start} and {PORTS.stop}", 69)


def is_free(port: int) -> bool:
    """Whether a daemon can listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
