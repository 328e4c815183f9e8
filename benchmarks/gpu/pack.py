"""Make the folder of wheels that a machine without a network needs for `benchmarks.gpu`.

    python -m benchmarks.gpu.pack [FOLDER] [--python 3.12] [--has pandas scipy ...]

Versions and digests are those of the lock for GPUs. Excluded are torch, transformers, peft, pyarrow
and the packages of `--has`, with the dependencies that only these need. The largest wheels are left
out if all are more than 64 MiB. Prints a JSON object as its last line: the wheels, their size, and
the packages without a wheel.
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
#: Packages of the machine: four packages, and their dependencies in every version.
GIVEN = (
    "torch", "transformers", "peft", "pyarrow", "filelock", "fsspec", "huggingface-hub", "jinja2",
    "numpy", "packaging", "psutil", "pyyaml", "regex", "safetensors", "tokenizers", "tqdm",
    "typing-extensions",
)  # fmt: skip
#: Required in addition, with all dependencies.
WANTED = ("trl", "accelerate", "mergekit", "pydantic", "datasets", "tensorboardX", "liger-kernel")
#: Faster if present; nothing fails without them. They are in no lock of ours.
FASTER = ("flash-attn", "causal-conv1d")
MAX_BYTES = 64 * 2**20
#: Platforms whose wheels run with glibc 2.28, the oldest for torch 2.13; pip takes only the named
#: ones.
PLATFORMS = (
    "manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_24_x86_64",
    "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64",
)  # fmt: skip
#: Timeout in seconds for all wheels from a slow mirror.
LIMIT_S = 600


def plain(name: str) -> str:
    """Return a package name as written in locks."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names: Iterable[str], given: Iterable[str]) -> set[str]:
    """Return these packages and all their dependencies, from the metadata of this environment.

    Given packages are left out, and so are dependencies that only they have.
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
    """Return the requirements of a package; none if it is not installed (Liger, without a GPU)."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def locked(names: set[str], python: str) -> dict[str, str]:
    """Return the lock lines with version and digests of these packages, by name.

    Lines for another Python are left out, and the environment marker of each is removed: pip would
    compare it with the Python that runs pip.
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
    """Fetch all wheels; return by package why some cannot be fetched.

    pip fetches nothing if one package has no wheel: then each is fetched alone.
    """
    if not download("\n".join(lines.values()), folder, python):
        return {}
    faults = {name: download(entry, folder, python) for name, entry in lines.items()}
    return {name: why for name, why in faults.items() if why}


def download(entries: str, folder: Path, python: str) -> str:
    """Fetch the wheels of some lock lines; return the error, "" if there is none."""
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
    """Remove the largest wheels until the rest fits; return the removed file names."""
    wheels = sorted(folder.glob("*.whl"), key=lambda path: path.stat().st_size)
    gone = []
    while sum(path.stat().st_size for path in wheels) > max_bytes:
        gone.append(wheels.pop())
        gone[-1].unlink()
    return [path.name for path in gone]


def main() -> None:
    """Make the folder, and print its content."""
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
