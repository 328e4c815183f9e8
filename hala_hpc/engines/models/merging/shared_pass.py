"""One pass for all values of a sweep: who makes it, who waits, and where models lie meanwhile.

The nodes of a sweep are jobs of their own. The first of them makes the weights of all in one pass
and leaves those of the others in a folder of the run, `cache/merges/<key>`; the others take theirs
from there. The key is that of all parents with what lies in them. Nothing depends on it: where a
pass is given up, each job makes its own model, which is the same.
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

#: Seconds without a sign of life after which a pass is taken for dead, and between two looks.
STALL_LIMIT_S = 180.0
POLL_INTERVAL_S = 1.0
#: Seconds between two signs of life.
HEARTBEAT_S = 5.0


class SharedPass:
    """The folder in which jobs of one sweep meet, for one set of parents."""

    def __init__(self, cache: Path, parents: Parents) -> None:
        facts = [[str(one), fingerprint_path(one)] for one in (parents.base, *parents.models)]
        self.folder = cache / "merges" / compute_fingerprint(facts)
        self.sign = self.folder / "pass.txt"
        self._last_beat = 0.0

    def model_folder(self, target: MergeTarget) -> Path:
        """Where the finished weights of a model lie until its job takes them."""
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
        """Claim the pass; False where another job has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return claim_text(self.sign, uuid4().hex)

    def beat(self) -> None:
        """Give a sign of life; to be called often."""
        now = time.monotonic()
        if now - self._last_beat >= HEARTBEAT_S:
            self._last_beat = now
            write_text(self.sign, uuid4().hex)

    def end(self) -> None:
        """Let others have the pass."""
        self.sign.unlink(missing_ok=True)

    def staging(self, attempt: str, target: MergeTarget) -> Path:
        """Empty folder for weights that another job will take."""
        folder = self.folder / f".{attempt}" / self.model_folder(target).name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def publish(self, staged: Path, target: MergeTarget) -> None:
        """Give finished weights their place; those of another job win."""
        place = self.model_folder(target)
        if not place.exists():
            staged.rename(place)
        place.with_suffix(".made").touch()

    def clean(self, attempt: str) -> None:
        """Remove what an attempt has left unfinished."""
        shutil.rmtree(self.folder / f".{attempt}", ignore_errors=True)

    def take(self, target: MergeTarget, folder: Path) -> bool:
        """Move the finished weights of a model into `folder`; False where there are none."""
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
        """Wait while another job's pass gives signs of life and this model is not there yet."""
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
                logger.warning("the pass in %s gives no sign of life; it is made here", self.folder)
                self.end()
                return
            time.sleep(POLL_INTERVAL_S)
