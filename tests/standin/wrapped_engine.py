"""Engines around an engine: one that notes what was answered, one that waits for a test."""

import time
from dataclasses import asdict
from pathlib import Path

from standin_engine import is_trial, note_question

from hala_hpc.engines.generation.delegating_engine import DelegatingEngine
from hala_hpc.engines.generation.engine import Completion, Engine, Request

#: Seconds between two polls for the release file.
PAUSE_S = 0.02
#: Longer than any test: no test is left to release what is held after that.
LIMIT_S = 1800


class NotingEngine(DelegatingEngine):
    """Notes each answer in a file when it is finished, as the stand-in does."""

    def __init__(self, inner: Engine, log: str) -> None:
        super().__init__(inner)
        self.log = log
        self.asked: dict[int, Request] = {}

    def add(self, request: Request) -> None:
        self.asked[request.key] = request
        super().add(request)

    def step(self) -> list[Completion]:
        completions = super().step()
        for completion in completions:
            request = self.asked.pop(completion.key)
            if is_trial(request):
                continue
            note_question(self.log, {"ids": request.ids, **asdict(request.sampling)})
        return completions


class HeldEngine(DelegatingEngine):
    """Gives no answer, once it gave so many, until the release file is there.

    Its steps end without one, as those of an engine that is in the middle of long answers.
    """

    def __init__(self, inner: Engine, release_file: Path, after: int) -> None:
        super().__init__(inner)
        self.release_file, self.after, self.given = release_file, after, 0
        self.deadline = time.monotonic() + LIMIT_S
        self.rows: set[int] = set()
        """Keys of the questions about rows."""

    def add(self, request: Request) -> None:
        if not is_trial(request):
            self.rows.add(request.key)
        super().add(request)

    def step(self) -> list[Completion]:
        if self.rows and self.given >= self.after and not self.release_file.exists():
            if time.monotonic() > self.deadline:
                raise TimeoutError(f"not in {LIMIT_S} s: the file {self.release_file}")
            time.sleep(PAUSE_S)
            return []
        completions = super().step()
        self.given += sum(completion.key in self.rows for completion in completions)
        return completions
