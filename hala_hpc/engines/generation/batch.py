"""Answers to a list of prompts at once, for what fits in memory: held-out sentences."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hala_hpc.core.errors import StopRequested
from hala_hpc.core.stage import Out
from hala_hpc.engines.generation.answer_stream import AnswerStream, answer_limit
from hala_hpc.engines.generation.engine import Completion, Engine, Request
from hala_hpc.engines.generation.watchdog import EngineWatch


@dataclass
class AnswerCount:
    """Counts of all answers that a worker asked for, over several lists, for people."""

    out: Out
    rows_of_node: int | None = None
    """Rows of all workers; None where the node has other work that is no row."""
    rows: int = 0
    tokens: int = 0

    def report(self) -> None:
        """Set the counts as the progress of the job."""
        counts: dict[str, float] = {"rows": self.rows, "tokens": self.tokens}
        if self.rows_of_node is not None:
            counts["rows_of_node"] = self.rows_of_node
        self.out.progress(**counts)


def answer_all(
    engine: Engine, words: Sequence[str], blank: str, told: AnswerCount
) -> list[Completion | None]:
    """What the model says to each prompt, None where its context has no room for an answer.

    `blank` is the prompt around an empty text. Raises StopRequested when the job must leave; leaves
    the process when the engine hangs.
    """
    unique = {word: key for key, word in enumerate(dict.fromkeys(words))}
    uses = Counter(unique[word] for word in words)
    found: dict[int, Completion] = {}
    rows_before = told.rows
    # At once: the first answers of a list may take minutes.
    told.report()
    limit_s = engine.settings.hang_limit_s
    with EngineWatch(limit_s, told.out.leave, engine.processes) as watch:
        asked = requests(engine, list(unique), blank)
        for completions in AnswerStream(engine).answers(asked, watch.beat):
            for completion in completions:
                found[completion.key] = completion
                told.rows += uses[completion.key]
                told.tokens += completion.tokens_out
            if completions:
                told.report()
            if told.out.stop:
                raise StopRequested("asked to leave in the middle of an evaluation")
    # Also those that were too long to be asked.
    told.rows = rows_before + len(words)
    told.report()
    return [found.get(unique[word]) for word in words]


def requests(engine: Engine, words: list[str], blank: str) -> Iterator[Request]:
    """A request for every prompt that fits, numbered as in the list."""
    fixed_tokens = len(engine.prompt_ids([blank])[0])
    every = zip(words, engine.prompt_ids(words), strict=True)
    for key, (asked, ids) in enumerate(every):
        limit = answer_limit(engine, len(ids), len(ids) - fixed_tokens)
        if limit is not None:
            yield Request(key, ids, limit, words=asked)
