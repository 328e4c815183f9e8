"""Damage every kind of file of a finished run, and check whether a relaunch repairs it.

`python -m benchmarks.damages [--drawn 100] [--seed 1] [--jobs 2]` makes one finished run: rows are
prepared, tokenized, and translated by a stand-in for the engine. Each damage gets a copy of it.
There are 88 damages of an external campaign, and others drawn from kinds of files, damages and
states. Then status, logs, verify and dry runs are called, and the launch is repeated. Where it is
refused, the fix in its error message is executed. The final content is read with pyarrow, json and
hashlib only. `--only TEXT` selects cells by name. Prints JSON as its last line. Exits with 1 if a
command ended with a traceback, a success lost something, a fix did not work, or less than 80 % were
repaired by the relaunch.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.damages.cells import Cell
from benchmarks.damages.contents import contents_of
from benchmarks.damages.drawn import drawn
from benchmarks.damages.finished_run import FinishedRun
from benchmarks.damages.listed import listed
from benchmarks.damages.trial import NODES, Bench, Outcome, Trial

#: Minimum share of cells that a relaunch repairs.
MIN_REPAIRED_SHARE = 0.8


def main() -> int:
    """Try all cells, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--drawn", type=int, default=100, help="number of drawn cells")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="cells in parallel")
    parser.add_argument("--only", default="", help="only cells whose names contain this text")
    parser.add_argument("--first", type=int, default=0, help="number of the first cell")
    parser.add_argument("--list", action="store_true", help="print the names of cells and end")
    parser.add_argument("--base", type=Path, help="folder of a finished run; it is not removed")
    given, began = parser.parse_args(), time.monotonic()
    base = given.base or Path(tempfile.mkdtemp(prefix="hala-damages-"))
    run = FinishedRun(base.absolute())
    if not (run.work / "run.json").exists():
        base.mkdir(parents=True, exist_ok=True)
        run.make()
    known = listed()
    cells = [*known, *drawn(given.drawn, given.seed, known, run.results())]
    chosen = [
        (number, cell)
        for number, cell in enumerate(cells)
        if given.only in cell.name and number >= given.first
    ]
    if given.list:
        print("\n".join(f"{number} {cell.name}" for number, cell in chosen))
        return 0
    trials = try_all(Bench(run, contents_of(run.work, NODES), base / "cells"), chosen, given.jobs)
    result = summary(trials, len(known), given.seed, began)
    if not result["good"]:
        print(f"the folders of failed cells are in {base}")
    elif not given.base:
        shutil.rmtree(base)
    print(json.dumps(result, ensure_ascii=False))
    return 0 if result["good"] else 1


def try_all(bench: Bench, cells: list[tuple[int, Cell]], jobs: int) -> list[tuple[int, Trial]]:
    """Try the cells, some in parallel, and print a line for each."""

    def try_one(numbered: tuple[int, Cell]) -> tuple[int, Trial]:
        number, cell = numbered
        found = bench.trial(number, cell)
        print(f"{number:3} {found.outcome:24} {cell.name}", flush=True)
        for line in [*found.fixes, *found.tracebacks, *found.messages]:
            print(f"      {line}", flush=True)
        return number, found

    with ThreadPoolExecutor(jobs) as workers:
        return list(workers.map(try_one, cells))


def summary(trials: list[tuple[int, Trial]], known: int, seed: int, began: float) -> dict[str, Any]:
    """Count the outcomes of the listed cells and of the drawn ones, and check the bounds."""
    tables: dict[str, Any] = {}
    for name, is_listed in (("listed", True), ("drawn", False)):
        part = [trial for number, trial in trials if (number < known) is is_listed]
        counts = Counter(trial.outcome for trial in part)
        tables[name] = {str(outcome): counts[outcome] for outcome in Outcome}
        tables[name]["traceback"] = sum(bool(trial.tracebacks) for trial in part)
    for name in (*map(str, Outcome), "traceback"):
        print(f"{name:26}" + "".join(f"{tables[part][name]:8}" for part in tables))
    tried = [trial for _, trial in trials if trial.outcome is not Outcome.NOTHING]
    repaired = sum(trial.outcome is Outcome.REPAIRED for trial in tried)
    bad = [t for t in tried if t.tracebacks or t.outcome in (Outcome.LOST, Outcome.BROKEN)]
    share = repaired / max(1, len(tried))
    return {
        "cells": len(tried),
        "seed": seed,
        "repaired_share": round(share, 3),
        **tables,
        "good": not bad and share >= MIN_REPAIRED_SHARE,
        "seconds": round(time.monotonic() - began),
    }


if __name__ == "__main__":
    sys.exit(main())
