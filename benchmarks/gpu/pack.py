"""Makes the folder of wheels that a machine without a network needs for `benchmarks.gpu`.

    python -m benchmarks.gpu.pack [FOLDER] [--python 3.12] [--has pandas scipy ...]

Versions and digests are those of the lock for GPUs. Left out is what torch, transformers, peft and
pyarrow bring along, and what `--has` names. The largest wheels are left out where all are more than
64 MiB. Prints a JSON object as its last line: the wheels, their size, and what cannot travel.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "env" / "main-cuda.txt"
#: Ignored by git.
FOLDER = ROOT / "runs" / "gpu-pack"
#: What the machine has, with all that these need.
GIVEN = ("torch", "transformers", "peft", "pyarrow")
#: What must be there beside it, with all that it needs.
WANTED = ("trl", "accelerate", "mergekit", "pydantic", "datasets", "tensorboardX", "liger-kernel")
MOST_BYTES = 64 * 2**20
#: Kinds of machines whose wheels run on one with glibc 2.28, the oldest that torch 2.13 runs on.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
#: Seconds for one wheel from a slow mirror.
LIMIT_S = 300


def plain(name: str) -> str:
    """A package's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names: Iterable[str]) -> set[str]:
    """These packages and all that they need here, as this environment's metadata tell."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        one = waiting.pop()
        for extra in ("", *one.extras):
            key = f"{plain(one.name)}[{extra}]" if extra else plain(one.name)
            if key in found:
                continue
            found.add(key)
            asked = map(Requirement, requirements_of(one.name))
            waiting += [
                need for need in asked if not need.marker or need.marker.evaluate({"extra": extra})
            ]
    return {key for key in found if not key.endswith("]")}


def requirements_of(name: str) -> list[str]:
    """What a package says that it needs; nothing of one that is not here (Liger, without a GPU)."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def locked(names: set[str]) -> dict[str, str]:
    """The lines of the lock with version and digests of these packages, by name."""
    entries = re.split(r"\n(?=\S)", LOCK.read_text(encoding="utf-8"))
    found = {plain(entry.partition("==")[0]): entry for entry in entries if "==" in entry}
    return {name: found[name] for name in sorted(names) if name in found}


def download(entry: str, folder: Path, python: str) -> str:
    """Fetch the wheel of one package; why it cannot, "" where it came."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(entry)
        file.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "uv", "tool", "run", "pip", "download", "--quiet"),
                *("--no-deps", "--only-binary=:all:", "--require-hashes", "-r", file.name),
                *("--python-version", python, "--implementation", "cp", *platforms),
                *("--dest", str(folder), "--disable-pip-version-check"),
            ],
            check=False, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]


def cut_to(folder: Path, most_bytes: int) -> list[str]:
    """Remove the largest wheels until the others are no more than that; their file names."""
    wheels = sorted(folder.glob("*.whl"), key=lambda path: path.stat().st_size)
    gone = []
    while sum(path.stat().st_size for path in wheels) > most_bytes:
        gone.append(wheels.pop())
        gone[-1].unlink()
    return [path.name for path in gone]


def main() -> None:
    """Make the folder, and tell what is in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.pack")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--python", default="3.12", help="version of Python there")
    parser.add_argument("--has", nargs="*", default=[], help="packages that are there, too")
    words = parser.parse_args()
    # Those wanted travel in any case: a machine may lack what its packages ask for.
    names = needed(WANTED) - needed(GIVEN) | set(map(plain, WANTED))
    names -= {plain(name) for name in words.has}
    words.folder.mkdir(parents=True, exist_ok=True)
    for old in words.folder.glob("*.whl"):
        old.unlink()
    lines = locked(names)
    cannot = dict.fromkeys(sorted(names - set(lines)), "it is not in the lock")
    for name, entry in lines.items():
        print(f"{entry.partition(' ')[0]}", file=sys.stderr, flush=True)
        if why := download(entry, words.folder, words.python):
            cannot[name] = why
    left = cut_to(words.folder, MOST_BYTES)
    cannot |= dict.fromkeys(left, f"all are more than {MOST_BYTES // 2**20} MiB")
    wheels = sorted(words.folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels)
    told = {"folder": str(words.folder), "mib": round(size / 2**20, 1)}
    print(json.dumps({**told, "wheels": [one.name for one in wheels], "cannot_travel": cannot}))


if __name__ == "__main__":
    main()
