"""An engine that leaves everything to another one: the base of those that change one thing."""

from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from hala_hpc.engines.generation.engine import Completion, Engine, Request
from hala_hpc.engines.generation.settings import EngineSettings


class DelegatingEngine:
    """An `Engine` that delegates to `inner`."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    @property
    def settings(self) -> EngineSettings:
        """The settings with which the engine was started."""
        return self.inner.settings

    @property
    def max_num_seqs(self) -> int:
        """Maximum number of requests in one step."""
        return self.inner.max_num_seqs

    @property
    def max_model_len(self) -> int:
        """Maximum number of tokens of a prompt and its answer together."""
        return self.inner.max_model_len

    def prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts."""
        return self.inner.prompt_ids(texts)

    def add(self, request: Request) -> None:
        """Add a request to the engine."""
        self.inner.add(request)

    def step(self) -> list[Completion]:
        """Run one engine step; returns the answers that it finished."""
        return self.inner.step()

    def abort_all(self) -> None:
        """Abort all requests that are not finished."""
        self.inner.abort_all()

    def restart(self, max_num_seqs: int) -> None:
        """Restart the engine with this `max_num_seqs`."""
        self.inner.restart(max_num_seqs)

    def processes(self) -> Sequence[BaseProcess]:
        """Processes that the engine needs."""
        return self.inner.processes()

    def close(self) -> None:
        """Stop the engine."""
        self.inner.close()
