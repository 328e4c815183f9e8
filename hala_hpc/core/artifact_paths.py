"""Paths of all files in the folder of one node. No other module knows these names."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ArtifactPaths:
    """Paths in the folder of one node: `<work>/<node>-<fingerprint>`."""

    folder: Path

    @property
    def config_file(self) -> Path:
        """Settings and inputs, written once."""
        return self.folder / "config.json"

    @property
    def summary_file(self) -> Path:
        """The summary, which marks the node as done."""
        return self.folder / "summary.json"

    @property
    def failure_file(self) -> Path:
        """Why the node failed, until it is retried."""
        return self.folder / "failure.json"

    @property
    def cleaned_file(self) -> Path:
        """What `clean` removed here, until it is made again."""
        return self.folder / "cleaned.json"

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
        """Published files of a unit; valid only once its marker exists."""
        return self.folder / "units" / f"{unit:05d}"

    def marker_file(self, unit: int) -> Path:
        """The marker of a unit."""
        return self.folder / "done" / f"{unit:05d}.json"

    @property
    def attempts(self) -> Path:
        """Folder of the records and private files of all attempts."""
        return self.folder / "attempts"

    def attempt_folder(self, attempt: str) -> Path:
        """Private files of one attempt, removed when it ends."""
        return self.attempts / attempt

    def attempt_file(self, attempt: str) -> Path:
        """How an attempt ended."""
        return self.attempts / f"{attempt}.json"

    def error_file(self, attempt: str, rank: int) -> Path:
        """Why the model code of one rank of an attempt ended."""
        return self.attempts / f"{attempt}-error-{rank}.json"

    def failures_file(self, number: int) -> Path:
        """Failure classes of the attempts of one round, once its gate has examined them."""
        return self.attempts / f"failures-{number:04d}.json"

    def lease_file(self, worker: int) -> Path:
        """Which attempt may commit for a worker; the newest one wins."""
        return self.attempts / f"lease-{worker:05d}.json"

    @property
    def shared(self) -> Path:
        """Files that workers exchange while they run."""
        return self.folder / "shared"

    def claim_file(self, unit: int) -> Path:
        """Which worker of this round runs a unit, until the unit is done."""
        return self.folder / "claims" / f"{unit:05d}.json"

    @property
    def state_root(self) -> Path:
        """Folder of all files that outlive attempts, of all units."""
        return self.folder / "kept"

    def state_dir(self, unit: int) -> Path:
        """Files of a unit that outlive an attempt, e.g. checkpoints."""
        return self.state_root / f"{unit:05d}"

    def progress_file(self, worker: int, rank: int = 0) -> Path:
        """The newest progress of one rank of a worker."""
        return self.folder / "progress" / f"{worker:05d}-{rank:04d}.json"

    def log_file(self, worker: int, rank: int = 0) -> Path:
        """What one rank of a worker printed, over all attempts."""
        return self.logs / f"worker-{worker:05d}-{rank:04d}.log"

    def round_file(self, number: int) -> Path:
        """The units of each worker in one round of jobs."""
        return self.folder / "rounds" / f"{number:04d}.json"
