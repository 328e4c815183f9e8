"""Generates the answers to a list of prompts that fits in memory, such as held-out sentences."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from hala_hpc.core.errors import StopRequested
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.generation.answer_stream import AnswerStream, compute_answer_limit
from hala_hpc.engines.generation.engine import Completion, Engine, Request
from hala_hpc.engines.generation.watchdog import EngineWatch


@dataclass
class AnswerCount:
    """Counts of all answers that a worker requested, over several lists; shown as progress."""

    out: UnitContext
    rows_of_node: int | None = None
    """Rows of all workers; None if unknown."""
    rows_of_worker: int | None = None
    """Rows of this worker, if those of all are unknown here."""
    rows: int = 0
    tokens: int = 0

    def report(self) -> None:
        """Report the counts as the progress of the job."""
        counts: dict[str, float] = {"rows": self.rows, "tokens": self.tokens}
        if self.rows_of_node is not None:
            counts["rows_of_node"] = self.rows_of_node
        if self.rows_of_worker is not None:
            counts["rows_of_worker"] = self.rows_of_worker
        self.out.report_progress(**counts)


def answer_all(
    engine: Engine,
    prompts: Sequence[str],
    empty_prompt: str,
    progress: AnswerCount,
    add: Callable[[str, Completion], None] = lambda _prompt, _answer: None,
) -> list[Completion | None]:
    """Generate an answer to each prompt; None if the model's context has no room for one.

    `empty_prompt` is the prompt around an empty text. `add` gets each prompt and its answer as soon
    as it is there. Aborts the process if the engine hangs.

    Raises: StopRequested if the job must stop.
    """
    unique = {prompt: key for key, prompt in enumerate(dict.fromkeys(prompts))}
    distinct = list(unique)
    uses = Counter(unique[prompt] for prompt in prompts)
    found: dict[int, Completion] = {}
    rows_before = progress.rows
    # Report at once: the first answers of a list may take minutes.
    progress.report()
    pending = make_requests(engine, distinct, empty_prompt)
    with closing(stream_answers(engine, pending, progress)) as answers:
        for completion in answers:
            found[completion.key] = completion
            add(distinct[completion.key], completion)
            progress.rows += uses[completion.key]
    # Includes the prompts that were too long.
    progress.rows = rows_before + len(prompts)
    progress.report()
    return [found.get(unique[prompt]) for prompt in prompts]


def stream_answers(
    engine: Engine, requests: Iterable[Request], progress: AnswerCount
) -> Generator[Completion, None, None]:
    """Yield the answers to requests as they finish, and count their tokens.

    To be closed before the engine is, whose end would be taken for its death. Aborts the process if
    the engine hangs.

    Raises: StopRequested if the job must stop.
    """
    limit_s = engine.settings.step_timeout_s
    with EngineWatch(limit_s, progress.out.abort, engine.processes) as watch:
        for completions in AnswerStream(engine).answers(requests, watch.beat):
            for completion in completions:
                progress.tokens += completion.tokens_out
                yield completion
            if completions:
                progress.report()
            if progress.out.stop_requested:
                raise StopRequested("asked to stop in the middle of an evaluation")


def make_requests(engine: Engine, prompts: list[str], empty_prompt: str) -> Iterator[Request]:
    """Make a request for each prompt that fits; its key is the index in the list."""
    fixed_tokens = len(engine.prompt_ids([empty_prompt])[0])
    every = zip(prompts, engine.prompt_ids(prompts), strict=True)
    for key, (prompt, ids) in enumerate(every):
        limit = compute_answer_limit(engine, len(ids), len(ids) - fixed_tokens)
        if limit is not None:
            yield Request(key, ids, limit, prompt=prompt)
