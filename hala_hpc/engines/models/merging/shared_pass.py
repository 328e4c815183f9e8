"""One pass for all values of a sweep: which job makes it, which ones wait, and where models are.

The nodes of a sweep are jobs of their own. The first of them makes the weights of all in one pass
and writes those of the others to a folder of the run, `cache/merges/<key>`; the others take theirs
from there. The key is that of all parents with their content. Results do not depend on it: if a
pass is abandoned, each job makes its own model, which is the same.
"""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from hala_hpc.core.files import claim_text, write_text
from hala_hpc.core.fingerprint import compute_fingerprint, fingerprint_path
from hala_hpc.engines.models.merging.merge_pass import MergeTarget, Parents
from hala_hpc.engines.models.merging.merge_record import MERGE_FILE

logger = logging.getLogger(__name__)

#: Seconds without a heartbeat after which a pass counts as dead, and between two polls.
STALL_LIMIT_S = 180.0
POLL_INTERVAL_S = 1.0
#: Seconds between two heartbeats.
HEARTBEAT_S = 5.0


class SharedPass:
    """The folder that jobs of one sweep share, for one set of parents."""

    def __init__(self, cache: Path, parents: Parents) -> None:
        facts = [[str(one), fingerprint_path(one)] for one in (parents.base, *parents.models)]
        self.folder = cache / "merges" / compute_fingerprint(facts)
        self.sign = self.folder / "pass.txt"
        self._last_beat = 0.0

    def model_folder(self, target: MergeTarget) -> Path:
        """Folder of the finished weights of a model until its job takes them."""
        values = [
            value.model_dump() if hasattr(value, "model_dump") else value
            for value in target.parameters._replace(weights=())
        ]
        weights = [one.model_dump() for one in target.parameters.weights]
        return self.folder / compute_fingerprint([values, weights, target.dtype])

    def was_made(self, target: MergeTarget) -> bool:
        """Whether a pass has made this model, taken or not."""
        return self.model_folder(target).with_suffix(".made").exists()

    def begin(self) -> bool:
        """Claim the pass; return False if another job has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return claim_text(self.sign, uuid4().hex)

    def beat(self) -> None:
        """Write a heartbeat; to be called often."""
        now = time.monotonic()
        if now - self._last_beat >= HEARTBEAT_S:
            self._last_beat = now
            write_text(self.sign, uuid4().hex)

    def end(self) -> None:
        """Release the pass to other jobs."""
        self.sign.unlink(missing_ok=True)

    def staging(self, attempt: str, target: MergeTarget) -> Path:
        """Return an empty folder for weights that another job will take."""
        folder = self.folder / f".{attempt}" / self.model_folder(target).name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def publish(self, staged: Path, target: MergeTarget) -> None:
        """Move finished weights to their place; those of another job take precedence."""
        place = self.model_folder(target)
        if not place.exists():
            staged.rename(place)
        place.with_suffix(".made").touch()

    def clean(self, attempt: str) -> None:
        """Remove unfinished weights of an attempt."""
        shutil.rmtree(self.folder / f".{attempt}", ignore_errors=True)

    def take(self, target: MergeTarget, folder: Path) -> bool:
        """Move the finished weights of a model into `folder`; return False if there are none."""
        place = self.model_folder(target)
        taken = folder / f".taken-{uuid4().hex[:8]}"
        try:
            place.rename(taken)
        except OSError:
            return False
        if not (taken / MERGE_FILE).is_file():
            shutil.rmtree(taken, ignore_errors=True)
            return False
        for file in taken.iterdir():
            file.rename(folder / file.name)
        taken.rmdir()
        return True

    def wait(self, target: MergeTarget, stop_requested: Callable[[], bool]) -> None:
        """Wait while another job's pass has heartbeats and this model is not there yet."""
        seen, since = "", time.monotonic()
        while self.sign.exists() and not self.model_folder(target).exists():
            if stop_requested():
                return
            try:
                sign = self.sign.read_text(encoding="utf-8")
            except OSError:
                return
            if sign != seen:
                seen, since = sign, time.monotonic()
            elif time.monotonic() - since > STALL_LIMIT_S:
                logger.warning("the pass in %s has no heartbeat; it is made here", self.folder)
                self.end()
                return
            time.sleep(POLL_INTERVAL_S)
