"""Answers to a list of prompts at once, for what fits in memory: held-out sentences."""

from collections.abc import Iterator, Sequence

from hala_hpc.core.errors import Retry
from hala_hpc.core.stage import Out
from hala_hpc.engines.generate import Completion, Generator, Request


def answer_all(
    generator: Generator, words: Sequence[str], blank: str, out: Out
) -> list[Completion | None]:
    """What the model says to each prompt, None where its context has no room for an answer.

    `blank` is the prompt around an empty text. Raises Retry when the job must leave.
    """
    unique = {word: key for key, word in enumerate(dict.fromkeys(words))}
    found: dict[int, Completion] = {}
    tokens = 0
    for completions in generator.stream(requests(generator, list(unique), blank)):
        for completion in completions:
            found[completion.key] = completion
            tokens += completion.tokens_out
        if completions:
            out.progress(tokens=tokens)
        if out.stop:
            raise Retry("asked to leave in the middle of an evaluation")
    return [found.get(unique[word]) for word in words]


def requests(generator: Generator, words: list[str], blank: str) -> Iterator[Request]:
    """A request for every prompt that fits, numbered as in the list."""
    fixed_tokens = len(generator.prompter.ids([blank])[0])
    for key, ids in enumerate(generator.prompter.ids(words)):
        limit = generator.answer_limit(len(ids), len(ids) - fixed_tokens)
        if limit is not None:
            yield Request(key, ids, limit)
