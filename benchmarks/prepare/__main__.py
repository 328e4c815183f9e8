"""`prepare` compared with the same work in `datasets`: time, memory and balance of the shards.

`python -m benchmarks.prepare [--rows 1000000] [--round-rows 100000] [--rounds 3] [--shards 64]
[--near-duplicates 0.8]`

Both sides make ids, remove duplicates and write shards of the same file, each in its own process
tree with the same number of processes. `prepare` runs through `launch` and verifies its output,
`datasets` does not. Rounds alternate. `ratio_to_datasets` is of the full size, against the first of
`--ways`: `map` of a function of one row, as in most scripts, in as many processes. The other ways,
batched by hand, are printed as well (`benchmarks.prepare.with_datasets`). With `--near-duplicates`
the full size runs once more with that search, which `datasets` does not have: the rows are random
stretches of one text, so that many overlap. CPU seconds are of the
whole process tree: on a busy machine they are more meaningful.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Any, NamedTuple

from benchmarks.common.waiting import wait_until
from benchmarks.prepare.alpaca_rows import write_alpaca

#: Seconds between two samples of the memory of a process tree.
POLL_INTERVAL_S = 0.25
#: Timeout of a command in seconds.
END_LIMIT_S = 4 * 3600
WAYS = ("rows", "filter", "one_pass")


class Run(NamedTuple):
    """One run of one side."""

    seconds: float
    cpu_seconds: float
    peak_gib: float


def watched(command: list[str]) -> Run:
    """Run a command; the peak is of its process tree, with shared pages counted once."""
    began, peak, before = time.perf_counter(), 0, getrusage(RUSAGE_CHILDREN)
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env) as process:

        def has_ended() -> bool:
            nonlocal peak
            peak = max(peak, sum(map(proportional_bytes, tree(process.pid))))
            return process.poll() is not None

        try:
            wait_until(has_ended, f"the end of {' '.join(command)}", END_LIMIT_S, POLL_INTERVAL_S)
        except TimeoutError:
            process.kill()
            raise
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    seconds, after = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu_seconds, peak / 2**30)


def tree(root: int) -> Iterator[int]:
    """Return a process and all its descendants."""
    yield root
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
        threads = [path.name for path in Path(f"/proc/{root}/task").iterdir()]
        for thread in threads:
            if thread != str(root):
                children += Path(f"/proc/{root}/task/{thread}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from tree(int(child))


def proportional_bytes(process: int) -> int:
    """Return the memory of a process (PSS); 0 if it has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024


def run_prepare(file: Path, folder: Path, shards: int, processes: int, threshold: float = 0) -> Run:
    """Run `prepare` through `launch`; with a threshold it searches near duplicates."""
    recipe = folder / "recipe.toml"
    folder.mkdir()
    settings = f"units = {shards}\nnear_duplicates = {threshold}\n"
    recipe.write_text(f'[rows]\nstage = "prepare"\ndata = "{file}"\n{settings}')
    overrides = [f"recipe={recipe}", "stage=rows", "launcher=local", f"work={folder / 'work'}"]
    overrides.append(f"rows.resources.cpus_per_rank={processes}")
    return watched([sys.executable, "-m", "hala_hpc.launch", *overrides])


def run_datasets(file: Path, folder: Path, shards: int, processes: int, way: str) -> Run:
    """Run the script with `datasets`."""
    folder.mkdir()
    arguments = [str(file), str(folder), str(shards), str(processes), way]
    return watched([sys.executable, "-m", "benchmarks.prepare.with_datasets", *arguments])


def shard_words(parts: list[Path]) -> list[int]:
    """Count the words between white space in each shard."""
    import pyarrow.parquet as pq

    totals = []
    for part in parts:
        messages = pq.read_table(part, columns=["messages"])["messages"].combine_chunks()
        texts = messages.flatten().field("content").to_pylist()
        totals.append(sum(len(text.split()) for text in texts))
    return totals


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds and the full size."""
    processes = len(os.sched_getaffinity(0))
    small, large = folder / "small" / "rows.jsonl", folder / "large" / "rows.jsonl"
    for path, rows in ((small, args.round_rows), (large, args.rows)):
        path.parent.mkdir()
        repeated = write_alpaca(path, rows)
    rounds: dict[str, list[float]] = {way: [] for way in args.ways}
    ours: list[Run] = []
    for _ in range(args.rounds):
        ours.append(run_prepare(small, folder / "ours", args.shards, processes))
        shutil.rmtree(folder / "ours")
        for way in args.ways:
            other = run_datasets(small, folder / "theirs", args.shards, processes, way)
            shutil.rmtree(folder / "theirs")
            rounds[way].append(other.seconds / ours[-1].seconds)
    full = run_prepare(large, folder / "ours", args.shards, processes)
    near = measure_near(large, folder / "near", args, processes)
    theirs = {
        way: run_datasets(large, folder / f"theirs-{way}", args.shards, processes, way)
        for way in args.ways
    }
    output = folder / "ours" / "work" / "latest" / "rows"
    summary = json.loads((output / "summary.json").read_text())
    if (summary["rows_in"], summary["rejected"]) != (args.rows, {"duplicate": repeated}):
        sys.exit(f"{summary['rows_in']} rows in, rejected {summary['rejected']}")
    words = shard_words(sorted((output / "output").glob("part-*.parquet")))
    return {
        "rows": args.rows,
        "mib": round(large.stat().st_size / 2**20),
        "processes": processes,
        "seconds": round(full.seconds, 1),
        "datasets_seconds": {way: round(run.seconds, 1) for way, run in theirs.items()},
        "ratio_to_datasets": round(theirs[args.ways[0]].seconds / full.seconds, 2),
        "ratios": {way: round(run.seconds / full.seconds, 2) for way, run in theirs.items()},
        "cpu_seconds": round(full.cpu_seconds, 1),
        "cpu_ratios": {
            way: round(run.cpu_seconds / full.cpu_seconds, 2) for way, run in theirs.items()
        },
        "round_rows": args.round_rows,
        "round_ratios": {way: round(median(found), 2) for way, found in rounds.items()},
        "peak_gib": round(full.peak_gib, 2),
        "peak_gib_of_a_round": round(max(run.peak_gib for run in ours), 2),
        "datasets_peak_gib": round(max(run.peak_gib for run in theirs.values()), 2),
        "largest_shard_to_mean": round(max(words) * len(words) / sum(words), 4),
        "tokens_are": "words between white space",
        **(describe_near(near, full, theirs[args.ways[0]]) if near else {}),
    }


class NearRun(NamedTuple):
    """A run with the search for near duplicates, and the rows that it rejected."""

    run: Run
    rows: int


def measure_near(
    file: Path, folder: Path, args: argparse.Namespace, processes: int
) -> NearRun | None:
    """Run the full size with the search, if asked."""
    if not args.near_duplicates:
        return None
    run = run_prepare(file, folder, args.shards, processes, args.near_duplicates)
    summary = json.loads((folder / "work" / "latest" / "rows" / "summary.json").read_text())
    shutil.rmtree(folder)
    return NearRun(run, summary["rejected"].get("near-duplicate", 0))


def describe_near(near: NearRun, full: Run, theirs: Run) -> dict[str, Any]:
    """Return the figures of the run with the search, and its factors."""
    return {
        "near_duplicates": near.rows,
        "near_seconds": round(near.run.seconds, 1),
        "near_to_prepare": round(near.run.seconds / full.seconds, 2),
        "near_ratio_to_datasets": round(theirs.seconds / near.run.seconds, 2),
        "near_cpu_seconds": round(near.run.cpu_seconds, 1),
        "near_peak_gib": round(near.run.peak_gib, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--round-rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--near-duplicates", type=float, default=0)
    parser.add_argument(
        "--within", help="folder for the files, some GB; without, the temporary one"
    )
    _args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=_args.within) as _folder:
        print(json.dumps(measure(Path(_folder), _args)))
