"""Results of evaluations by content: `<work>/evaluations/<key>`, for all nodes and runs there.

A key is that of model, tasks, shard, settings and engine. The first writer of a result wins, so
that every node has the same one. While a job makes a result, its file `<key>.working` changes every
few seconds; others that need it do something else meanwhile, or wait. After three minutes without a
sign of life they make it themselves.
"""

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from hala_hpc.core.errors import StopRequested, UserError
from hala_hpc.core.file_facts import compute_file_digests
from hala_hpc.core.files import claim_folder, claim_text, write_text
from hala_hpc.core.fingerprint import compute_fingerprint
from hala_hpc.core.record import JsonRecord

logger = logging.getLogger(__name__)

#: Files of a result.
STORED_SCORES = "scores.json"
STORED_ITEMS = "items.parquet"
RESULT_FILE = "evaluation.json"
#: Seconds without a sign of life after which a job is taken for dead, and between two looks.
STALL_LIMIT_S = 180.0
POLL_INTERVAL_S = 1.0
#: Seconds between two signs of life.
HEARTBEAT_S = 5.0
#: Raised when the same key gives another result.
FORMAT_VERSION = 2


@dataclass(frozen=True)
class EvaluationKey:
    """All that a result depends on."""

    model: str
    """Digest of weights, config and tokenizer."""
    tasks: str
    """Digest of settings, code and data of the tasks."""
    settings: str
    """Settings that change the result."""
    engine: str
    """Engine and its versions."""
    dtype: str
    """Number format, as in `engine.dtype`."""

    @property
    def name(self) -> str:
        """Name of the result's folder."""
        return compute_fingerprint([FORMAT_VERSION, asdict(self)])


class StoredEvaluation(JsonRecord):
    """`evaluation.json`: what a result is of, and the digests of its files. Written last."""

    key: dict[str, str]
    label: str = ""
    """Label of the model in the node that made it, for people."""
    entry: str = ""
    sha256: dict[str, str]


class EvaluationStore:
    """The results in one work folder, for one worker of a node.

    `worker` names it: no other worker of any node has this name.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        self.folder, self.worker = folder, worker
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def find(self, key: EvaluationKey) -> Path | None:
        """The folder of a finished result; None if there is none. A damaged one is removed."""
        place = self.folder / key.name
        stored = StoredEvaluation.read_if_valid(place / RESULT_FILE)
        if stored is not None and is_complete(place, stored):
            return place
        if place.exists():
            logger.warning("%s is damaged: evaluated again", place)
            damaged = self.folder / f".damaged-{uuid4().hex[:8]}"
            try:
                place.rename(damaged)
            except OSError:
                return None
            shutil.rmtree(damaged, ignore_errors=True)
        return None

    def begin(self, key: EvaluationKey) -> bool:
        """Claim the work on a result; False if another worker is at it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not claim_text(self.sign(key), self.make_sign()):
            # An earlier attempt of this worker was killed: it is not at work any more.
            if self.read_sign(key).partition(" ")[0] != self.worker:
                return False
            write_text(self.sign(key), self.make_sign())
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self.beat, args=(key, self._ended), daemon=True)
        self._beating.start()
        return True

    def beat(self, key: EvaluationKey, ended: threading.Event) -> None:
        """Give signs of life until the work has ended."""
        while not ended.wait(HEARTBEAT_S):
            # Without a sign, e.g. on a full disk, others make the result too: nothing is lost.
            with contextlib.suppress(OSError):
                write_text(self.sign(key), self.make_sign())

    def end(self, key: EvaluationKey) -> None:
        """Let others have the work."""
        self._ended.set()
        if self._beating is not None:
            # A sign that is just being written would stay.
            self._beating.join()
        self.sign(key).unlink(missing_ok=True)

    def make_sign(self) -> str:
        """A sign of life: the worker, and a text that differs each time."""
        return f"{self.worker} {uuid4().hex}"

    def read_sign(self, key: EvaluationKey) -> str:
        """The newest sign of life; empty if there is none."""
        try:
            return self.sign(key).read_text(encoding="utf-8")
        except OSError:
            return ""

    def sign(self, key: EvaluationKey) -> Path:
        """The file that shows that a job makes a result."""
        return self.folder / f"{key.name}.working"

    def wait(self, key: EvaluationKey, stop_requested: Callable[[], bool]) -> None:
        """Wait while another job gives signs of life and the result is not there.

        Raises: StopRequested if the job must stop.
        """
        seen, since = "", time.monotonic()
        while self.sign(key).exists() and not (self.folder / key.name).exists():
            if stop_requested():
                raise StopRequested("asked to stop while another job makes a result")
            if (sign := self.read_sign(key)) != seen:
                seen, since = sign, time.monotonic()
            elif time.monotonic() - since > STALL_LIMIT_S:
                logger.warning("%s gives no sign of life: evaluated here", self.sign(key))
                self.sign(key).unlink(missing_ok=True)
                return
            time.sleep(POLL_INTERVAL_S)

    def staging(self, key: EvaluationKey) -> Path:
        """Empty folder for the files of a result."""
        folder = self.folder / f".{key.name}-{self.worker}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def publish(self, key: EvaluationKey, staged: Path, label: str, entry: str) -> None:
        """Give a result its place; that of another job wins."""
        digests = compute_file_digests(staged, (STORED_SCORES, STORED_ITEMS))
        record = StoredEvaluation(key=asdict(key), label=label, entry=entry, sha256=digests)
        record.write(staged / RESULT_FILE)
        if not claim_folder(staged, self.folder / key.name):
            shutil.rmtree(staged, ignore_errors=True)


def is_complete(place: Path, stored: StoredEvaluation) -> bool:
    """Whether the files of a result are those that were written."""
    try:
        return compute_file_digests(place, stored.sha256) == stored.sha256
    except (OSError, UserError):
        return False
