"""An engine that is not ours, whose answers are texts: what frames them is cut as in ours."""

from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

from hala_hpc.core.hub import model_folder
from hala_hpc.engines.generation.answer_frame import TextFrame
from hala_hpc.engines.generation.engine import Completion, Engine, EngineConfig, Request
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.models.files import read_object


class FramedEngine:
    """An `Engine` that does what the one in it does, and cuts what frames its answers."""

    def __init__(self, inner: Engine, config: EngineConfig) -> None:
        self.inner = inner
        self.frame = TextFrame.of(read_added_tokens(config.model), config.settings.cut_thinking)
        self._prompts: dict[int, str] = {}

    @property
    def settings(self) -> EngineSettings:
        """The settings that the engine was started with."""
        return self.inner.settings

    @property
    def max_num_seqs(self) -> int:
        """Requests that it works at in one step at most."""
        return self.inner.max_num_seqs

    @property
    def max_model_len(self) -> int:
        """Tokens of a prompt and its answer together at most."""
        return self.inner.max_model_len

    def prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts."""
        return self.inner.prompt_ids(texts)

    def add(self, request: Request) -> None:
        """Give a request to the engine."""
        self._prompts[request.key] = request.prompt
        self.inner.add(request)

    def step(self) -> list[Completion]:
        """One step of the engine; the answers that it finished, without what frames them."""
        return [self._strip(completion) for completion in self.inner.step()]

    def _strip(self, completion: Completion) -> Completion:
        prompt = self._prompts.pop(completion.key, "")
        if completion.label_probabilities or completion.reason:
            return completion
        stripped = self.frame.strip(completion.text, prompt)
        return replace(completion, text=stripped.text, reason=stripped.reason)

    def abort_all(self) -> None:
        """Take back what is not finished."""
        self._prompts.clear()
        self.inner.abort_all()

    def restart(self, max_num_seqs: int) -> None:
        """Start the engine anew with so many requests at once."""
        self._prompts.clear()
        self.inner.restart(max_num_seqs)

    def processes(self) -> Sequence[BaseProcess]:
        """Processes without which the engine cannot go on."""
        return self.inner.processes()

    def close(self) -> None:
        """End the engine."""
        self.inner.close()


def read_added_tokens(model: str) -> list[str]:
    """Texts of the added tokens of a model on the disk; none of another, which nobody knows."""
    folder = model_folder(model)
    if folder is None:
        return []
    whole = read_object(folder / "tokenizer.json") or {}
    decoder = (read_object(folder / "tokenizer_config.json") or {}).get("added_tokens_decoder")
    listed: list[Any] = list(whole.get("added_tokens") or [])
    listed += (decoder if isinstance(decoder, dict) else {}).values()
    texts = (str(one["content"]) for one in listed if isinstance(one, dict) and "content" in one)
    return list(dict.fromkeys(texts))
