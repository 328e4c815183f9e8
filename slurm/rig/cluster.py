"""The folder of a cluster: what the machine must have for it, and what is written into it."""

import json
import os
import shutil
import socket
import stat
import string
import sys
from pathlib import Path

from rig.errors import RigError, say

NODES = ["node1", "node2", "node3", "node4"]
GPUS_PER_NODE = 8
#: The mark of a folder that is ours: the words put into the templates.
WORDS = "minislurm.json"
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
#: What installs them so that their own daemons, which would collide with ours, are not started.
INSTALL = f"sudo {Path(__file__).resolve().parents[2] / 'env' / 'system-packages'} install"
#: A socket's name has at most 107 bytes.
LONGEST_FOLDER = 80
#: Below the ports that the kernel gives away, above those of well-known services.
PORTS = range(6900, 10000)


def default_folder() -> Path:
    """MINISLURM_DIR, or a folder in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("MINISLURM_DIR") or cache / "minislurm")


def check_root() -> None:
    """SLURM's daemons start the jobs of others, so they belong to root."""
    if os.geteuid() != 0:
        raise RigError("SLURM's daemons run as root; type: sudo -E " + " ".join(sys.argv), 77)


def check_machine(folder: Path) -> None:
    """Find what is missing before anything is written."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = {package for program, package in PACKAGES.items() if not shutil.which(program)}
    if missing:
        raise RigError(
            f"packages are missing: {', '.join(sorted(missing))}; type: {INSTALL}, which installs "
            "them and starts no service",
            69,
        )
    name = str(folder)
    odd = not name.isprintable() or set(name) & set(" %#,;$\"'\\")
    if odd or len(name.encode()) > LONGEST_FOLDER:
        raise RigError(
            f"{name!r} is longer than {LONGEST_FOLDER} bytes or holds characters that SLURM's "
            "settings cannot; type: export MINISLURM_DIR=/tmp/minislurm",
            78,
        )
    check_ours(folder)


def check_ours(folder: Path) -> None:
    """Refuse a folder with files of somebody else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / WORDS).exists():
        raise RigError(f"{folder} holds other files; name another folder with MINISLURM_DIR", 73)


def write(folder: Path, proctrack: str, memory: str = "counted") -> None:
    """Make the configuration, the key, the device files and the daemons' folders.

    `memory`: counted, or enforced by control groups, which then track processes, too.
    """
    is_enforced = memory == "enforced"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # the jobs of other users reach munge's socket
    ports = free_ports(2 + len(NODES))
    words = {
        "folder": str(folder),
        "host": socket.gethostname().split(".")[0],
        "slurmctld_port": str(ports[0]),
        "slurmdbd_port": str(ports[1]),
        "slurmd_ports": f"{ports[2]}-{ports[-1]}",
        "proctrack": "cgroup" if is_enforced else proctrack,
        "task": "cgroup" if is_enforced else "none",
        "constrain": "yes" if is_enforced else "no",
    }
    (folder / WORDS).write_text(json.dumps(words, indent=1) + "\n")
    for template in templates():
        text = string.Template(template.read_text()).substitute(words).encode()
        write_bytes(folder / template.name, text, 0o600 if "dbd" in template.name else 0o644)
    write_bytes(folder / "munge.key", os.urandom(128), 0o600)
    for name in ["slurmctld", *NODES]:
        (folder / name).mkdir()
    for number in range(GPUS_PER_NODE):
        make_device(folder / f"gpu{number}")


def templates() -> list[Path]:
    """Settings of the daemons with words to fill in."""
    return [p for p in Path(__file__).parent.iterdir() if p.suffix in (".cnf", ".conf", ".sql")]


def read_words(folder: Path) -> dict[str, str]:
    """The words that were put into the templates."""
    words: dict[str, str] = json.loads((folder / WORDS).read_text())
    return words


def write_bytes(path: Path, content: bytes, mode: int) -> None:
    """Write a file that nobody could read before it had its mode."""
    path.touch(0o600, exist_ok=False)
    path.write_bytes(content)
    path.chmod(mode)


def make_device(path: Path) -> None:
    """A device file with the numbers of /dev/null; a plain one where mknod is forbidden."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        say(f"mknod is forbidden here: {path} is a plain file")
        path.touch()


def free_ports(count: int) -> range:
    """Neighbouring ports that nobody holds."""
    first = PORTS.start + os.getpid() % 60 * 50
    for start in [*range(first, PORTS.stop - count, count), *range(PORTS.start, first, count)]:
        ports = range(start, start + count)
        if all(is_free(port) for port in ports):
            return ports
    raise RigError(f"no {count} free ports between {PORTS.start} and {PORTS.stop}", 69)


def is_free(port: int) -> bool:
    """Whether a daemon could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
