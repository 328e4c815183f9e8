"""Wraps an engine that is not built in: its answers are texts, and their frames are stripped."""

from dataclasses import replace
from typing import Any

from hala_hpc.core.hub import model_folder
from hala_hpc.engines.generation.answer_frame import TextFrame
from hala_hpc.engines.generation.delegating_engine import DelegatingEngine
from hala_hpc.engines.generation.engine import Completion, Engine, EngineConfig, Request
from hala_hpc.engines.models.files import read_object


class FramedEngine(DelegatingEngine):
    """An `Engine` that delegates to another one and strips the frames of its answers."""

    def __init__(self, inner: Engine, config: EngineConfig) -> None:
        super().__init__(inner)
        self.frame = TextFrame.of(read_added_tokens(config.model), config.settings.cut_thinking)
        self._prompts: dict[int, str] = {}

    def add(self, request: Request) -> None:
        """Add a request to the engine."""
        if not request.is_verbatim:
            self._prompts[request.key] = request.prompt
        super().add(request)

    def step(self) -> list[Completion]:
        """Run one engine step; returns the answers that it finished, without their frames."""
        return [self._strip(completion) for completion in super().step()]

    def _strip(self, completion: Completion) -> Completion:
        prompt = self._prompts.pop(completion.key, None)
        if prompt is None or completion.label_probabilities or completion.reason:
            return completion
        stripped = self.frame.strip(completion.text, prompt)
        return replace(completion, text=stripped.text, reason=stripped.reason)

    def abort_all(self) -> None:
        """Abort all requests that are not finished."""
        self._prompts.clear()
        super().abort_all()

    def restart(self, max_num_seqs: int) -> None:
        """Restart the engine with this `max_num_seqs`."""
        self._prompts.clear()
        super().restart(max_num_seqs)


def read_added_tokens(model: str) -> list[str]:
    """Read the texts of the added tokens of a model; empty if it is not on the disk."""
    folder = model_folder(model)
    if folder is None:
        return []
    whole = read_object(folder / "tokenizer.json") or {}
    decoder = (read_object(folder / "tokenizer_config.json") or {}).get("added_tokens_decoder")
    listed: list[Any] = list(whole.get("added_tokens") or [])
    listed += (decoder if isinstance(decoder, dict) else {}).values()
    texts = (str(one["content"]) for one in listed if isinstance(one, dict) and "content" in one)
    return list(dict.fromkeys(texts))
