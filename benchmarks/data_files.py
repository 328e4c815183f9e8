"""Odd and damaged data files through the reader: no traceback, no hang, no row lost silently.

`python -m benchmarks.data_files [--files 20000] [--launched 200] [--seed 1]`

Files of seeded rows are written in all layouts, separators, encodings and compressions; half of
them are then damaged: bytes changed, cut off, or two files joined. Each process reads 200 of them
through `find_sources`. The rows are counted independently: for whole files the number that was
written, for damaged plain JSON lines the lines that `json` reads as objects. Exits with 1 if a file
ends in anything but records or a UserError, or has fewer records than that.

The files of `--launched` go through a launch of prepare, 20 in one. A file that its error names is
left out, and the others are launched again, until the node is finished: then its rows, accepted and
rejected, are counted.
"""

import argparse
import bz2
import csv
import gzip
import io
import json
import lzma
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hala_hpc.core.errors import BAD_DATA, NO_INPUT

FILES_OF_A_PROCESS = 200
END_LIMIT_S = 600
FILES_OF_A_LAUNCH = 20
#: Exit codes of data that cannot be used.
REFUSALS = (BAD_DATA, NO_INPUT)
TEXTS = ["Hello", '"Quoted', 'He said "hi"', "a, b; c", "مرحبا", "two\nlines", "x" * 300, '"', ""]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
CHILD = """
import json, sys
from hala_hpc.core.errors import UserError
from hala_hpc.data.readers.sources import DatasetSelection, find_sources
for path in json.load(sys.stdin):
    try:
        found = find_sources(path, DatasetSelection())
        result = sum(1 for source in found for _ in source.read())
    except UserError:
        result = "refused"
    except BaseException as error:
        result = "traceback " + repr(error)[:200]
    print(json.dumps([path, result]), flush=True)
"""


class MadeFile(NamedTuple):
    """A file that was written."""

    path: Path
    rows: int
    """Rows that must be found; the minimum if it is damaged."""
    is_damaged: bool


def make_file(folder: Path, number: int, seed: int) -> MadeFile:
    """Write one file."""
    chance = random.Random(f"{seed} {number}")
    rows = [
        {"instruction": f"{chance.choice(TEXTS)} {n}", "output": chance.choice(TEXTS)}
        for n in range(chance.randint(1, 30))
    ]
    layout = chance.choice(list(LAYOUTS))
    suffix, text = LAYOUTS[layout](rows)
    data = text.encode(chance.choice(ENCODINGS))
    packing = chance.choice(list(PACKINGS))
    is_damaged = chance.random() < 0.5
    expected = len(rows)
    if is_damaged:
        data = damage(data, chance)
        expected = count_objects(data) if layout == "lines" else 0
    path = folder / f"{number}-{layout}{suffix}{packing}"
    path.write_bytes(PACKINGS[packing](data))
    return MadeFile(path, expected, is_damaged)


def damage(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes, cut the end off, or write the content twice."""
    how = chance.randrange(3)
    if how == 0:
        changed = bytearray(data)
        for _ in range(chance.randint(1, 5)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        return bytes(changed)
    return data[: chance.randrange(len(data))] if how == 1 else data + data


def count_objects(data: bytes) -> int:
    """Count the lines that are JSON objects by themselves."""
    found = 0
    for line in data.split(b"\n"):
        try:
            found += isinstance(json.loads(line.decode()), dict)
        except (ValueError, RecursionError):
            continue
    return found


def write_table(rows: list[dict[str, str]], separator: str) -> str:
    """Write rows as CSV; in TSV, whose rows are lines, without quotes."""
    out = io.StringIO()
    if separator == "\t":
        plain = [[text.replace("\n", " ") for text in row.values()] for row in rows]
        return "\n".join(["instruction\toutput", *("\t".join(row) for row in plain), ""])
    writer = csv.DictWriter(out, list(rows[0]), delimiter=separator, quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


LAYOUTS: dict[str, Callable[[list[dict[str, str]]], tuple[str, str]]] = {
    "lines": lambda rows: (".jsonl", "".join(json.dumps(row) + "\n" for row in rows)),
    "array": lambda rows: (".json", json.dumps(rows, indent=1)),
    "pretty": lambda rows: (".json", "\n".join(json.dumps(row, indent=2) for row in rows)),
    "list": lambda rows: (".json", json.dumps({"version": 1, "data": rows}, indent=1)),
    "comma": lambda rows: (".csv", write_table(rows, ",")),
    "semicolon": lambda rows: (".CSV", write_table(rows, ";")),
    "tab": lambda rows: (".tsv", write_table(rows, "\t")),
}


def read_files(files: list[MadeFile]) -> dict[str, int | str]:
    """Read some files in a process of its own; return the records of each, or how it ended."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([str(file.path) for file in files]),
        capture_output=True,
        text=True,
        timeout=END_LIMIT_S,
        check=True,
    )
    return dict(json.loads(line) for line in done.stdout.splitlines())


def judge(file: MadeFile, result: int | str | None) -> str:
    """Return how a file ended: read, refused, lost, too many, or a traceback."""
    if not isinstance(result, int):
        is_refused = result == "refused"
        return ("refused" if file.is_damaged else "refused whole") if is_refused else "traceback"
    if result < file.rows:
        return "lost"
    return "too many" if result > file.rows and not file.is_damaged else "read"


def measure(files: int, seed: int) -> Counter[str]:
    """Write, read and check all files."""
    ends: Counter[str] = Counter()
    for first in range(0, files, FILES_OF_A_PROCESS):
        with tempfile.TemporaryDirectory() as folder:
            numbers = range(first, min(first + FILES_OF_A_PROCESS, files))
            made = [make_file(Path(folder), number, seed) for number in numbers]
            results = read_files(made)
            for file in made:
                end = judge(file, results.get(str(file.path)))
                ends[end] += 1
                if end not in {"read", "refused"}:
                    detail = f"{file.path.name}: {end}, {file.rows} rows written, "
                    print(detail + f"{results.get(str(file.path))}", file=sys.stderr)
    return ends


def launch_files(files: list[MadeFile], folder: Path) -> Counter[str]:
    """Prepare some files with a launch, without those that it refuses; return how they ended."""
    ends: Counter[str] = Counter()
    left = list(files)
    while left:
        names = json.dumps([str(file.path) for file in left])
        recipe = folder / "recipe.toml"
        recipe.write_text(
            f'[rows]\nstage = "prepare"\ndata = {names}\nunits = 1\nmax_rejected_fraction = 1\n'
        )
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hala_hpc.launch", "stage=all", "launcher=local"),
                *(f"recipe={recipe}", f"work={folder / 'work'}"),
            ],
            capture_output=True,
            text=True,
            timeout=END_LIMIT_S,
            check=False,
        )
        output = done.stdout + done.stderr
        named = [file for file in left if str(file.path) in done.stderr]
        if done.returncode == 0:
            summary = json.loads((folder / "work/latest/rows/summary.json").read_text())
            expected = sum(file.rows for file in left)
            is_lost = summary["rows_in"] < expected or summary["rows_in"] != (
                summary["rows_out"] + summary["rows_rejected"]
            )
            ends["launched, lost" if is_lost else "launched"] += len(left)
            return ends
        if "Traceback" in output or done.returncode not in REFUSALS or not named:
            print(f"launch ended with {done.returncode}: {output[-2000:]}", file=sys.stderr)
            ends["launched, traceback"] += len(left)
            return ends
        for file in named:
            ends["launched, refused" if file.is_damaged else "launched, refused whole"] += 1
            left.remove(file)
    return ends


def measure_launches(files: int, seed: int) -> Counter[str]:
    """Write files and prepare them with launches."""
    ends: Counter[str] = Counter()
    for first in range(0, files, FILES_OF_A_LAUNCH):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            numbers = range(first, min(first + FILES_OF_A_LAUNCH, files))
            (folder / "data").mkdir()
            ends += launch_files([make_file(folder / "data", n, seed) for n in numbers], folder)
    return ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--launched", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    _arguments = parser.parse_args()
    _ends = measure(_arguments.files, _arguments.seed)
    # Other files than those above: the same seed would make the same.
    _ends += measure_launches(_arguments.launched, _arguments.seed + 1)
    print(json.dumps(_ends))
    sys.exit(0 if set(_ends) <= {"read", "refused", "launched", "launched, refused"} else 1)
