"""A stand-in for the engine: it answers at once, letter by letter, and needs no model.

For tests of what surrounds an engine. It is no model of vLLM's speed or quality.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from typing import Any

from hala_hpc.engines.generation.engine import Completion, EngineConfig, Request
from hala_hpc.engines.generation.row_stage import TRIAL_SENTENCES
from hala_hpc.engines.generation.settings import EngineSettings

#: Latin letters by their place in the alphabet, in Arabic script.
LETTERS = "ابجدهوزحطيكلمنسعفصقرشتثخذضظغةىآ"


def arabic(text: str) -> str:
    """Each Latin letter as an Arabic one, all else as it is."""
    table = {ord(latin): LETTERS[place % len(LETTERS)] for place, latin in enumerate(ALPHABET)}
    return text.translate(table)


ALPHABET = "abcdefghijklmnopqrstuvwxyz" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


#: Log-probability of each token.
TOKEN_LOGPROB = -0.25
#: A prompt that contains this takes more memory than there is.
TOO_MUCH = b"a prompt of two gigabytes"
#: A prompt that contains this has an empty answer, however often it is requested.
NOTHING = "speechless"


class StandInEngine:
    """Answers `max_num_seqs` requests a step; a step takes HALA_STANDIN_STEP_S seconds.

    A token is a byte. Notes each answer about a row in the file HALA_STANDIN_LOG: process number,
    time in seconds since the epoch, and the question as JSON.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.settings = config.settings
        self.max_model_len = self.settings.max_model_len
        self.max_num_seqs = self.settings.max_num_seqs or 16
        self.held: dict[int, Request] = {}
        self.steps = 0
        self.sizes = [self.max_num_seqs]
        self.step_s = float(os.environ.get("HALA_STANDIN_STEP_S", "0"))
        self.log = os.environ.get("HALA_STANDIN_LOG")

    def prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    def add(self, request: Request) -> None:
        self.held[request.key] = request

    def step(self) -> list[Completion]:
        time.sleep(self.step_s)
        self.steps += 1
        keys = list(self.held)[: self.max_num_seqs]
        if any(TOO_MUCH in bytes(self.held[key].ids) for key in keys):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [self._answer(self.held.pop(key)) for key in keys]

    def _answer(self, request: Request) -> Completion:
        prompt = bytes(request.ids).decode()
        text = "" if NOTHING in prompt else arabic(prompt.partition("\n\n")[2] or prompt)
        size = len(text.encode())
        if self.log and not is_trial(request):
            note_question(self.log, {"prompt": prompt, **asdict(request.sampling)})
        logprob = size * TOKEN_LOGPROB if request.sampling.logprobs else None
        return Completion(request.key, text, True, len(request.ids), size, logprob=logprob)

    def abort_all(self) -> None:
        self.held.clear()

    def restart(self, max_num_seqs: int) -> None:
        self.held.clear()
        self.max_num_seqs = max_num_seqs
        self.sizes.append(max_num_seqs)

    def processes(self) -> Sequence[BaseProcess]:
        return ()

    def close(self) -> None:
        self.held.clear()


def stand_in_config(**settings: Any) -> EngineConfig:
    """What a stand-in is started for in the process of a test."""
    return EngineConfig("m", EngineSettings(**settings))


def is_trial(request: Request) -> bool:
    """Whether a question is one of those that come before the rows, in every attempt."""
    return any(sentence in request.prompt for sentence in TRIAL_SENTENCES)


def note_question(log: str, question: dict[str, Any]) -> None:
    """Add a line in one write, so that a kill or another process cannot tear it."""
    record = (
        f"{os.getpid()} {time.time():.6f} {json.dumps(question, ensure_ascii=False)}\n".encode()
    )
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, record)
    os.close(descriptor)
