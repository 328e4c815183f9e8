"""How the last round of a node ended: what it brought, and whether there may be another."""

from collections import Counter
from pathlib import Path
from typing import Any

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import INTERNAL, NO_INPUT, OK, RETRY
from hala_hpc.core.files import read_json
from hala_hpc.jobs.failures.evidence import scheduler_words
from hala_hpc.jobs.failures.policy import BLAMELESS_ROUNDS, decide

#: Rounds in a row that may end without a new mark or checkpoint before the gate gives up.
IDLE_ROUNDS = 2
LOG_TAIL_LINES = 15


def progress_made(artifact: Artifact) -> list[str]:
    """What exists of marks and checkpoints; a round that adds nothing to it was idle."""
    # A name that begins with a dot is a file that was not finished.
    kept = sorted(
        f"kept/{unit}/{name}"
        for unit in names_in(artifact.folder / "kept")
        for name in names_in(artifact.folder / "kept" / unit)
        if not name.startswith(".")
    )
    return [f"{len(artifact.done_units())} units", *kept]


def names_in(folder: Path) -> list[str]:
    """Names in a folder that an attempt which nobody believes to live may remove just now."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def idle_rounds(artifact: Artifact) -> int:
    """How many rounds up to the last one ended without progress, since a person asked.

    A round that only preemption or bad nodes ended, or after which another is asked for, as with
    more memory, does not count: these have bounds of their own in `failure_policy`.
    """
    last = artifact.round(artifact.last_round())
    if not last or last["progress_before"] != progress_made(artifact):
        return 0
    decision = decide(artifact, last["spec"])
    if decision.is_blameless or decision.has_changed:
        return int(last["spec"]["idle_rounds"])
    return int(last["spec"]["idle_rounds"]) + 1


def blameless_rounds(artifact: Artifact) -> int:
    """How many rounds in a row brought no progress and were ended by the cluster alone."""
    last = artifact.round(artifact.last_round())
    if not last or last["progress_before"] != progress_made(artifact):
        return 0
    is_blameless = decide(artifact, last["spec"]).is_blameless
    return int(last["spec"].get("blameless_rounds", 0)) + 1 if is_blameless else 0


def attempts_of_last_round(artifact: Artifact) -> list[dict[str, Any]]:
    """How the attempts of the last round ended, as far as they could say."""
    number = artifact.last_round()
    files = (artifact.folder / "attempts").glob(f"r{number:04d}-*.json")
    return [value for value in map(read_json, sorted(files)) if value and "worker" in value]


def without_inputs(artifact: Artifact, config: dict[str, Any]) -> tuple[int, list[str]]:
    """Code and reasons when an input failed: no worker could start; (0, []) otherwise."""
    missing = [
        name
        for name, facts in config["inputs"].items()
        if "artifact" in facts
        and Artifact(artifact.folder.parent / facts["artifact"]).summary() is None
    ]
    if not missing:
        return OK, []
    return NO_INPUT, [f"{name}, which it waits for, was not finished" for name in missing]


def hopeless(artifact: Artifact) -> tuple[int, list[str]]:
    """Code and reasons where there must be no other round; (0, []) where there may."""
    decision = decide(artifact, artifact.round(artifact.last_round())["spec"])
    if decision.code != OK:
        return decision.code, [*decision.reasons, *log_of_defect(artifact, decision.code)]
    if idle_rounds(artifact) >= IDLE_ROUNDS:
        told = f"{IDLE_ROUNDS} rounds of jobs ended without progress"
        return INTERNAL, [told, *last_words(artifact)]
    if blameless_rounds(artifact) >= BLAMELESS_ROUNDS:
        told = f"{BLAMELESS_ROUNDS} rounds of jobs were preempted or lost their nodes before any"
        return RETRY, [f"{told} progress", *last_words(artifact)]
    return OK, []


def last_words(artifact: Artifact) -> list[str]:
    """Why attempts ended, each reason once, and the tail of a log of one that failed."""
    attempts = [a for a in attempts_of_last_round(artifact) if a["code"] != OK]
    reasons = Counter(reason for a in attempts for reason in a["reasons"])
    lines = [
        f"{reason} ({count} times)" if count > 1 else reason for reason, count in reasons.items()
    ]
    if not attempts:
        lines = ["the workers left no word: killed, or never started"]
    worst = INTERNAL if attempts and attempts[-1]["code"] == INTERNAL else OK
    return [*lines, *log_of_defect(artifact, worst), *words_of_scheduler(artifact)]


def log_of_defect(artifact: Artifact, code: int) -> list[str]:
    """The tail of the log of the last attempt that ended with a defect, where that is the code."""
    attempts = [a for a in attempts_of_last_round(artifact) if a["code"] == INTERNAL]
    if code != INTERNAL or not attempts:
        return []
    log = artifact.log_file(attempts[-1]["worker"], attempts[-1]["rank"])
    if not log.exists():
        return []
    tail = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return [f"the end of {log}:", *(f"  {line}" for line in tail)]


def words_of_scheduler(artifact: Artifact) -> list[str]:
    """How SLURM saw the workers end, e.g. out of memory; nothing where it does not tell."""
    told = scheduler_words(artifact)
    return [f"the scheduler says: {', '.join(told)}"] if told else []
