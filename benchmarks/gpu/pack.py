"""Makes the folder of wheels that a machine without a network needs for `benchmarks.gpu`.

    python -m benchmarks.gpu.pack [FOLDER] [--python 3.12] [--has pandas scipy ...]

Versions and digests are those of the lock for GPUs. Left out is what torch, transformers, peft and
pyarrow bring along, and what `--has` names, with what that alone needs. The largest wheels are left
out where all are more than 64 MiB. Prints a JSON object as its last line: the wheels, their size,
and what cannot travel.
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
#: What the machine has: four packages, and what those need in every version.
GIVEN = (
    "torch", "transformers", "peft", "pyarrow", "filelock", "fsspec", "huggingface-hub", "jinja2",
    "numpy", "packaging", "psutil", "pyyaml", "regex", "safetensors", "tokenizers", "tqdm",
    "typing-extensions",
)  # fmt: skip
#: What must be there beside it, with all that it needs.
WANTED = ("trl", "accelerate", "mergekit", "pydantic", "datasets", "tensorboardX", "liger-kernel")
#: Faster where they are; nothing here fails without them. No lock of ours has them.
FASTER = ("flash-attn", "causal-conv1d")
MAX_BYTES = 64 * 2**20
#: Kinds of machines whose wheels run on one with glibc 2.28, the oldest that torch 2.13 runs on;
#: pip takes none but those named.
PLATFORMS = (
    "manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_24_x86_64",
    "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64",
)  # fmt: skip
#: Seconds for all wheels from a slow mirror.
LIMIT_S = 600


def plain(name: str) -> str:
    """A package's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names: Iterable[str], given: Iterable[str]) -> set[str]:
    """These packages and all that they need, as this environment's metadata tell.

    What is given is left out, and so is what that alone needs.
    """
    from packaging.requirements import Requirement

    found = {(plain(name), "") for name in given}
    waiting = [Requirement(name) for name in names]
    while waiting:
        one = waiting.pop()
        for extra in ("", *one.extras):
            key = (plain(one.name), extra)
            if key in found:
                continue
            found.add(key)
            asked = map(Requirement, requirements_of(one.name))
            waiting += [
                need for need in asked if not need.marker or need.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in found} - {plain(name) for name in given}


def requirements_of(name: str) -> list[str]:
    """What a package says that it needs; nothing of one that is not here (Liger, without a GPU)."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def locked(names: set[str], python: str) -> dict[str, str]:
    """The lines of the lock with version and digests of these packages, by name.

    Those for another Python are left out, and the condition of each is cut: pip would hold it
    against the Python that runs pip.
    """
    from packaging.markers import Marker

    target = {"python_version": python, "python_full_version": f"{python}.0"}
    found = {}
    for entry in re.split(r"\n(?=\S)", LOCK.read_text(encoding="utf-8")):
        first, _, digests = entry.partition(" \\\n")
        package, _, condition = first.partition(" ; ")
        name = plain(package.partition("==")[0])
        if name in names and (not condition or Marker(condition).evaluate(target)):
            found[name] = f"{package} \\\n{digests}"
    return found


def fetch(lines: dict[str, str], folder: Path, python: str) -> dict[str, str]:
    """Fetch all wheels; why some cannot, by package.

    pip fetches nothing where one has none: then each is fetched alone.
    """
    if not download("\n".join(lines.values()), folder, python):
        return {}
    faults = {name: download(entry, folder, python) for name, entry in lines.items()}
    return {name: why for name, why in faults.items() if why}


def download(entries: str, folder: Path, python: str) -> str:
    """Fetch the wheels of some lines of the lock; why they cannot, "" where they came."""
    platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(f"{entries}\n")
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


def cut_to(folder: Path, max_bytes: int) -> list[str]:
    """Remove the largest wheels until the others are no more than that; their file names."""
    wheels = sorted(folder.glob("*.whl"), key=lambda path: path.stat().st_size)
    gone = []
    while sum(path.stat().st_size for path in wheels) > max_bytes:
        gone.append(wheels.pop())
        gone[-1].unlink()
    return [path.name for path in gone]


def main() -> None:
    """Make the folder, and tell what is in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.pack")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--python", default="3.12", help="version of Python there")
    parser.add_argument("--has", nargs="*", default=[], help="packages that are there, too")
    args = parser.parse_args()
    names = needed((*WANTED, *FASTER), (*GIVEN, *args.has))
    args.folder.mkdir(parents=True, exist_ok=True)
    for old in args.folder.glob("*.whl"):
        old.unlink()
    lines = locked(names, args.python)
    cannot = dict.fromkeys(sorted(names - set(lines)), "it is not in the lock")
    cannot |= fetch(lines, args.folder, args.python)
    left = cut_to(args.folder, MAX_BYTES)
    cannot |= dict.fromkeys(left, f"all are more than {MAX_BYTES // 2**20} MiB")
    wheels = sorted(args.folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels)
    result = {"folder": str(args.folder), "mib": round(size / 2**20, 1)}
    print(json.dumps({**result, "wheels": [one.name for one in wheels], "cannot_travel": cannot}))


if __name__ == "__main__":
    main()
