"""The folder of one node's results. Nothing else knows the names inside it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.core.files import claim_json, read_json, write_json

#: A worker whose sign of life is older than this is taken for dead, in seconds.
ALIVE_S = 60


@dataclass(frozen=True)
class Artifact:
    """Paths and marks of one artifact: `<work>/<node>-<fingerprint>`."""

    folder: Path

    @property
    def config_file(self) -> Path:
        """Settings and inputs, written once."""
        return self.folder / "config.json"

    @property
    def summary_file(self) -> Path:
        """The mark of the node."""
        return self.folder / "summary.json"

    @property
    def failure_file(self) -> Path:
        """Why the node failed, until it is tried again."""
        return self.folder / "failure.json"

    @property
    def jobs_file(self) -> Path:
        """Ids of the newest jobs."""
        return self.folder / "jobs.json"

    @property
    def output(self) -> Path:
        """What the next node reads; complete when `summary.json` is there."""
        return self.folder / "output"

    @property
    def logs(self) -> Path:
        """Logs of workers and gates."""
        return self.folder / "logs"

    def unit_folder(self, unit: int) -> Path:
        """Published files of a unit; good only once its mark is there."""
        return self.folder / "units" / f"{unit:05d}"

    def mark_file(self, unit: int) -> Path:
        """The mark of a unit."""
        return self.folder / "done" / f"{unit:05d}.json"

    def attempt_folder(self, attempt: str) -> Path:
        """Private files of one attempt, removed when it ends."""
        return self.folder / "attempts" / attempt

    def attempt_file(self, attempt: str) -> Path:
        """How an attempt ended."""
        return self.folder / "attempts" / f"{attempt}.json"

    def failures_file(self, number: int) -> Path:
        """What kinds of failure ended the attempts of one round, once its gate has looked."""
        return self.folder / "attempts" / f"failures-{number:04d}.json"

    def lease_file(self, worker: int) -> Path:
        """Which attempt may commit for a worker; the newest one wins."""
        return self.folder / "attempts" / f"lease-{worker:05d}.json"

    @property
    def shared(self) -> Path:
        """What workers tell each other while they run."""
        return self.folder / "shared"

    def claim_file(self, unit: int) -> Path:
        """Which worker of this round makes a unit, until the unit is done."""
        return self.folder / "claims" / f"{unit:05d}.json"

    def claimed_units(self) -> set[int]:
        """Units that some worker of this round has taken."""
        return {int(path.stem) for path in (self.folder / "claims").glob("[0-9]*.json")}

    def kept_folder(self, unit: int) -> Path:
        """Files that outlive an attempt: checkpoints of a unit."""
        return self.folder / "kept" / f"{unit:05d}"

    def progress_file(self, worker: int, rank: int = 0) -> Path:
        """The newest word of one rank of a worker."""
        return self.folder / "progress" / f"{worker:05d}-{rank:04d}.json"

    def log_file(self, worker: int, rank: int = 0) -> Path:
        """What one rank of a worker printed, over all attempts."""
        return self.logs / f"worker-{worker:05d}-{rank:04d}.log"

    def round_file(self, number: int) -> Path:
        """The units of each worker in one round of jobs."""
        return self.folder / "rounds" / f"{number:04d}.json"

    def config(self) -> dict[str, Any] | None:
        """Settings and input fingerprints, or None before the first submission."""
        config: dict[str, Any] | None = read_json(self.config_file)
        return config

    def summary(self) -> dict[str, Any] | None:
        """The mark of the node, or None."""
        summary: dict[str, Any] | None = read_json(self.summary_file)
        return summary

    def mark(self, unit: int) -> dict[str, Any] | None:
        """The mark of a unit, or None."""
        mark: dict[str, Any] | None = read_json(self.mark_file(unit))
        return mark

    def done_units(self) -> list[int]:
        """Units that have a mark, in order."""
        return sorted(int(path.stem) for path in (self.folder / "done").glob("[0-9]*.json"))

    def missing_units(self, units: int) -> list[int]:
        """Units out of so many that have no mark, in order."""
        done = set(self.done_units())
        return [unit for unit in range(units) if unit not in done]

    def write_mark(self, unit: int, mark: dict[str, Any]) -> bool:
        """Mark a unit as done unless it is; say whether this call did."""
        return claim_json(self.mark_file(unit), mark)

    def last_round(self) -> int:
        """Number of the newest round of jobs, 0 before the first."""
        names = (self.folder / "rounds").glob("[0-9]*.json")
        return max((int(path.stem) for path in names), default=0)

    def round(self, number: int) -> dict[str, Any]:
        """What was decided for one round; empty when there is none."""
        return read_json(self.round_file(number)) or {}

    def write_round(self, number: int, value: dict[str, Any]) -> None:
        """Write down what was decided for one round."""
        write_json(self.round_file(number), value)

    def job_ids(self) -> list[str]:
        """Ids of the newest workers and gate; empty before the first submission."""
        jobs = read_json(self.jobs_file) or {}
        return [jobs[key] for key in ("workers", "gate") if jobs.get(key)]

    def write_failure(self, code: int, reasons: list[str]) -> None:
        """Write down why the node failed."""
        write_json(self.failure_file, {"code": code, "reasons": reasons, "time": time.time()})

    def progress(self) -> list[dict[str, Any]]:
        """The newest word of every worker (rank 0)."""
        files = sorted((self.folder / "progress").glob("*-0000.json"))
        return [value for value in map(read_json, files) if value]

    def is_alive(self) -> bool:
        """Whether some worker gave a sign of life within the last minute."""
        files = (self.folder / "progress").glob("*.json")
        now = time.time()
        return any(
            now - path.stat().st_mtime < ALIVE_S
            for path in files
            if not (read_json(path) or {}).get("ended")
        )
