"""Concurrent and killed launches: no job may be submitted twice or lost.

`python -m benchmarks.launches --pairs 100 --kills 200 [--seed 1]` starts a real SLURM. First, two
launches of one recipe run concurrently: each job must exist once, and exactly one launch has
submitted it. Then a launch is killed at each system call that changes something outside of the
process, and at some of the others, while it holds the lease of the folder (strace's injection).
After a relaunch every job must exist once and wait for the right one. Prints JSON as its last line.
Exits with 1 if a job was lost or duplicated.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from benchmarks.common.own_slurm import own_slurm, read_command_output, wait_for_empty_queue
from benchmarks.common.waiting import WAIT_S

ROOT = Path(__file__).resolve().parent.parent
#: Calls that change files or processes, or wait for another process.
CHANGING = {
    *("link", "linkat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "symlink"),
    *("symlinkat", "fsync", "mkdir", "mkdirat", "chmod", "fchmod", "write", "utimensat"),
    *("clone", "clone3", "vfork", "fork", "wait4", "waitid", "pipe2", "kill"),
}
#: One of so many calls that change nothing is tried.
OTHERS_EVERY = 40
RECIPE = """
[corpus]
stage = "prepare"
data = "{rows}"
units = 8
resources = {{ workers = 4, cpus_per_rank = 1, mem_gb = 1 }}
[page]
stage = "report"
nodes = ["@corpus"]
resources = {{ cpus_per_rank = 1, mem_gb = 1 }}
"""
#: No job may start meanwhile.
LAUNCHER = 'backend = "slurm"\n[resources]\noptions.begin = "now+5hours"\n'


@dataclass
class Tally:
    """Counts of the results."""

    pairs: int = 0
    kills: int = 0
    no_owner: int = 0
    two_owners: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether no job was lost, duplicated or had a wrong dependency."""
        return not (self.no_owner or self.two_owners or self.lost or self.doubled or self.wrong)


class Site:
    """A folder with a recipe and a launcher, and fresh work folders."""

    def __init__(self, base: Path) -> None:
        self.base = base
        rows = base / "rows.jsonl"
        rows.write_text('{"instruction": "Say 1", "output": "1"}\n' * 8)
        (base / "recipe.toml").write_text(RECIPE.format(rows=rows))
        (base / "launcher.toml").write_text(LAUNCHER)
        self.count = 0

    def fresh(self) -> Path:
        """Return an unused work folder."""
        self.count += 1
        return self.base / f"work{self.count}"

    def command(self, work: Path) -> list[str]:
        """Return the command of a launch."""
        overrides = [f"recipe={self.base}/recipe.toml", f"launcher={self.base}/launcher.toml"]
        arguments = ["-m", "hala_hpc.launch", "stage=all", *overrides, f"work={work}"]
        return [sys.executable, *arguments]

    def start(self, work: Path, *before: str) -> "subprocess.Popen[str]":
        """Start a launch with a prefix such as strace."""
        pipe = subprocess.PIPE
        command = [*before, *self.command(work)]
        return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def node_of(name: str) -> str:
    """Return a job's name without fingerprint and key."""
    return re.sub(r"-[0-9a-f]{12}-[0-9a-f]{8}$", "", name)


def jobs_of(work: Path) -> list[list[str]]:
    """Return id, name and dependency of each job of a work folder."""
    rows = read_command_output("squeue", "--noheader", "--format=%F|%j|%E|%Z").splitlines()
    return [
        row.split("|")[:3] for row in rows if row.rstrip().split("|")[-1].startswith(f"{work}/")
    ]


def check_jobs(work: Path, tally: Tally, what: str) -> None:
    """Check that every node has its workers and its gate once, with dependencies and records."""
    jobs = jobs_of(work)
    names = Counter(node_of(name) for _, name, _ in jobs)
    wanted = {"corpus", "gate-corpus", "page", "gate-page"}
    tally.lost += len(wanted - names.keys())
    tally.doubled += sum(count - 1 for count in names.values())
    if names.keys() != wanted or names.total() != len(wanted):
        tally.wrong.append(f"{what}: {dict(names)}")
        return
    ids = {node_of(name): number for number, name, _ in jobs}
    waits = {node_of(name): after for _, name, after in jobs}
    for name, after in (("gate-corpus", "corpus"), ("page", "gate-corpus"), ("gate-page", "page")):
        if ids[after] not in waits[name]:
            tally.wrong.append(f"{what}: {name} waits for {waits[name]}, not for {ids[after]}")
    for node in ("corpus", "page"):
        jobs_file = json.loads((work / "latest" / node / "jobs.json").read_text())
        if (jobs_file["workers"], jobs_file["gate"]) != (ids[node], ids[f"gate-{node}"]):
            tally.wrong.append(f"{what}: jobs.json of {node} has other ids")


def end_jobs(work: Path) -> None:
    """Cancel the jobs of a work folder, and remove the folder."""
    ids = [number for number, _, _ in jobs_of(work)]
    if ids:
        subprocess.run(["scancel", *ids], check=False, timeout=WAIT_S)
    shutil.rmtree(work, ignore_errors=True)


def try_pair(site: Site, tally: Tally) -> None:
    """Run two concurrent launches."""
    work = site.fresh()
    pair = [site.start(work), site.start(work)]
    ends = [(child.communicate(timeout=WAIT_S), child.returncode) for child in pair]
    submitted = [out for (out, _), _ in ends if "2 nodes submitted" in out]
    tally.pairs += 1
    tally.no_owner += not submitted
    tally.two_owners += len(submitted) > 1
    for (out, err), code in ends:
        refused = "another launch is running in" in err and "since" in err and code == 75
        if not refused and not (code == 0 and "nodes submitted" in out):
            tally.wrong.append(f"pair {tally.pairs}: code {code}: {err[-200:]}")
    check_jobs(work, tally, f"pair {tally.pairs}")
    end_jobs(work)


def calls_of(site: Site) -> list[tuple[str, int]]:
    """Return the system calls of a launch while it holds the lease: name and occurrence number."""
    work, log = site.fresh(), site.base / "calls.txt"
    child = site.start(work, "strace", "-o", str(log))
    child.communicate(timeout=WAIT_S)
    end_jobs(work)
    counts: Counter[str] = Counter()
    found: list[tuple[str, int]] = []
    holds = False
    for line in log.read_text(errors="replace").splitlines():
        name = line.partition("(")[0]
        if not name.isidentifier():
            continue
        counts[name] += 1
        lease = "launch.lease" in line
        holds = holds or (lease and name.startswith("link"))
        if holds:
            found.append((name, counts[name]))
        if lease and holds and name.startswith("unlink") and ".tmp" not in line:
            return found
    raise RuntimeError("the launch took no lease")


def chosen_calls(
    calls: list[tuple[str, int]], max_calls: int, chance: Random
) -> list[tuple[str, int]]:
    """Return all calls that change something and some others; at most `max_calls`, in order."""
    some = [call for n, call in enumerate(calls) if call[0] in CHANGING or n % OTHERS_EVERY == 0]
    picked = set(chance.sample(range(len(some)), min(max_calls, len(some))))
    return [call for n, call in enumerate(some) if n in picked]


def try_kill(site: Site, call: tuple[str, int], tally: Tally) -> None:
    """Kill a launch at a system call, and launch again."""
    work = site.fresh()
    injection = f"inject={call[0]}:signal=KILL:when={call[1]}"
    child = site.start(work, "strace", "-o", os.devnull, "-e", f"trace={call[0]}", "-e", injection)
    child.communicate(timeout=WAIT_S)
    tally.kills += 1
    relaunch = site.start(work)
    _, err = relaunch.communicate(timeout=WAIT_S)
    if relaunch.returncode != 0:
        tally.wrong.append(f"kill at {call}: the relaunch ended with {relaunch.returncode}: {err}")
    check_jobs(work, tally, f"kill at {call}")
    end_jobs(work)


def main() -> None:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    tally, began = Tally(), time.monotonic()
    with own_slurm(), tempfile.TemporaryDirectory() as base:
        run(Site(Path(base)), args.pairs, args.kills, tally, Random(args.seed))
    tally.seconds = round(time.monotonic() - began, 1)
    print(json.dumps({**asdict(tally), "good": tally.good}))
    sys.exit(not tally.good)


def run(site: Site, pairs: int, kills: int, tally: Tally, chance: Random) -> None:
    """Run all pairs, then all kills."""
    for _ in range(pairs):
        try_pair(site, tally)
    calls = chosen_calls(calls_of(site), kills, chance) if kills else []
    for number, call in enumerate(calls, 1):
        try_kill(site, call, tally)
        print(f"{number} of {len(calls)} kills, {len(tally.wrong)} faults", flush=True)
    wait_for_empty_queue()


if __name__ == "__main__":
    main()
