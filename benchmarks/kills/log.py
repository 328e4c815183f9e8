"""Answers, and those that were generated again, from the log of all answers of a run."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True)
class Loss:
    """Answers lost with a process, and the maximum that it had between two commits."""

    answers: int
    between_commits: int


def losses(log: Path, commit_interval_s: float) -> list[Loss]:
    """Return the loss of each process of which another one had to generate answers again.

    For a corpus without equal texts: a text that was generated twice was lost once.
    """
    lost: Counter[int] = Counter()
    had: dict[str, int] = {}
    times: defaultdict[int, list[float]] = defaultdict(list)
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        process, time_s, question = line.split(" ", 2)
        if question in had:
            lost[had[question]] += 1
        had[question] = int(process)
        times[int(process)].append(float(time_s))
    return [
        Loss(many, max_within(times[process], commit_interval_s)) for process, many in lost.items()
    ]


def count_levels(log: Path) -> Counter[str]:
    """Count the answers of the stand-in by what it was asked: a text, a paragraph or a line."""
    counts: Counter[str] = Counter()
    for line in log.read_text(encoding="utf-8").splitlines():
        text = json.loads(line.split(" ", 2)[2])["prompt"].partition("\n\n")[2]
        counts["text" if "\n\n" in text else "paragraph" if "\n" in text else "line"] += 1
    return counts


def max_within(times: list[float], commit_interval_s: float) -> int:
    """Return the maximum of answers between two commits, from the times of all answers in seconds.

    A commit comes with the first engine step that ends `commit_interval_s` after the last one, and
    the longest pause between two answers is a step or more.
    """
    span = commit_interval_s + max(
        (after - before for before, after in pairwise(times)), default=0.0
    )
    first = max_count = 0
    for last, time_s in enumerate(times):
        while time_s - times[first] > span:
            first += 1
        max_count = max(max_count, last - first + 1)
    return max_count
