"""Try one cell: damage a copy, run every command, relaunch, apply the fix, check."""

import json
import re
import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from benchmarks.damages.cells import Cell, copy_of
from benchmarks.damages.commands import Ended, run_door, type_in
from benchmarks.damages.contents import Contents, contents_of
from benchmarks.damages.finished_run import FinishedRun

NODES = ("mine", "tok", "arabic")
#: Exit codes of the README.
CODES = (0, 64, 65, 66, 69, 70, 73, 75, 78)
#: A fix may reveal the next damage.
MAX_FIXES = 3
#: Commands in error messages that users shall run.
TYPED = re.compile(r"`([^`]+)`")
#: The fix that verify prints.
REPAIR = re.compile(r"python -m hala_hpc\.verify \S+ repair=true")


class Outcome(StrEnum):
    """The outcome of a cell."""

    REPAIRED = "repaired by a relaunch"
    FIXED = "repaired by the printed fix"
    VERIFIED = "repaired by the fix of verify"
    """The launch took damaged results for finished, as it checks sizes only; verify found them."""
    LOST = "success with loss"
    BROKEN = "left broken"
    NOTHING = "nothing to damage"


@dataclass
class Trial:
    """A cell and its outcome."""

    cell: Cell
    outcome: Outcome = Outcome.BROKEN
    tracebacks: list[str] = field(default_factory=list)
    """Commands that ended with a traceback, or with an undocumented exit code."""
    fixes: list[str] = field(default_factory=list)
    """Commands that were executed as fixes."""
    messages: list[str] = field(default_factory=list)
    """Last output of commands after a failure."""
    verify_fix: str = ""
    """The fix that verify printed before the launch."""

    def note(self, module: str, ended: Ended) -> Ended:
        """Check how a command ended."""
        if ended.has_traceback or ended.code not in CODES:
            self.tracebacks.append(f"{module} {ended.code}: {ended.last_lines}")
        return ended


@dataclass(frozen=True)
class Bench:
    """The folder for the cells, and the expected content."""

    run: FinishedRun
    whole: Contents
    place: Path

    def trial(self, number: int, cell: Cell, must_keep: bool = False) -> Trial:
        """Try one cell; its folder is removed if it ended well."""
        work, found = copy_of(self.run.work, self.place / f"cell-{number:03d}"), Trial(cell)
        if not cell.befall(work):
            found.outcome = Outcome.NOTHING
        else:
            self.run_read_only_commands(found, work)
            self.repair(found, work)
        is_good = found.outcome not in (Outcome.LOST, Outcome.BROKEN) and not found.tracebacks
        if is_good and not must_keep:
            shutil.rmtree(work)
        return found

    def run_read_only_commands(self, found: Trial, work: Path) -> None:
        """Run every command that changes nothing."""
        dry = [*self.run.arguments(work), "dry_run=true"]
        lines = [(module, [f"work={work}"]) for module in ("status", "logs", "verify")]
        lines += [(module, [f"work={work}", "dry_run=true"]) for module in ("retry", "cancel")]
        for module, arguments in [*lines, ("launch", dry)]:
            ended = found.note(module, run_door(module, arguments, found.cell.must_drop_rights))
            if module == "verify" and (match := REPAIR.search(ended.out)):
                found.verify_fix = match[0]

    def repair(self, found: Trial, work: Path) -> None:
        """Launch, apply the fixes of its error messages, and launch again."""
        drop = found.cell.must_drop_rights
        for _ in range(MAX_FIXES + 1):
            before = attempts_of(work)
            ended = found.note("launch", run_door("launch", self.run.arguments(work), drop))
            if ended.code == 0:
                losses = contents_of(work, NODES).losses(self.whole)
                if losses and found.verify_fix and attempts_of(work) == before:
                    self.apply_verify_fix(found, work)
                else:
                    outcome = Outcome.FIXED if found.fixes else Outcome.REPAIRED
                    self.judge(found, work, outcome, losses)
                return
            found.messages.append(ended.last_lines)
            # Without a command in the message the launch itself is the fix.
            for line in TYPED.findall(ended.err) or ["true"]:
                found.fixes.append(line)
                found.note(line, type_in(line))

    def apply_verify_fix(self, found: Trial, work: Path) -> None:
        """Apply the fix of verify after a launch that found nothing to do, and launch again."""
        found.fixes.append(found.verify_fix)
        found.note("verify", type_in(found.verify_fix))
        found.note("launch", run_door("launch", self.run.arguments(work)))
        losses = contents_of(work, NODES).losses(self.whole)
        self.judge(found, work, Outcome.VERIFIED, losses)

    def judge(self, found: Trial, work: Path, outcome: Outcome, losses: list[str]) -> None:
        """Check after a success that everything exists and all commands agree."""
        if losses:
            found.outcome = Outcome.LOST
            found.messages += losses
            return
        before = attempts_of(work)
        relaunch = found.note("launch", run_door("launch", self.run.arguments(work)))
        status = found.note("status", run_door("status", [f"work={work}", "format=json"]))
        verify = found.note("verify", run_door("verify", [f"work={work}"]))
        states = {one["state"] for one in json.loads(status.out or '{"nodes": []}')["nodes"]}
        has_run = attempts_of(work) != before
        if relaunch.code or has_run or states != {"done"} or verify.code:
            found.messages += [relaunch.last_lines, f"status {states}", verify.last_lines]
            return
        found.outcome = outcome


def attempts_of(work: Path) -> set[Path]:
    """The attempts of all jobs so far: a launch that finds everything done adds none."""
    return set(work.glob("*/attempts/*"))
