"""A few fixed questions before the rows: an engine whose answers are of no use stops its node.

Only what no row can escape counts, on all of them; how good the answers are is no matter here.
"""

from collections.abc import Iterator, Sequence

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.stage import Out
from hala_hpc.data.checks.phrases import TOKENS
from hala_hpc.engines.generation.answer_stream import AnswerStream, answer_limit
from hala_hpc.engines.generation.engine import Completion, Engine, Request
from hala_hpc.engines.generation.request_queue import judged
from hala_hpc.engines.generation.row_program import EMPTY, TRUNCATED, UNFINISHED_THINKING, Ask
from hala_hpc.engines.generation.watchdog import EngineWatch

#: Letters of a prompt or an answer that the error shows.
SHOWN_LETTERS = 200
FRAMED = "framed"
NO_CHOICE = "no_choice"
#: What may help, by what is wrong with an answer.
CURES = {
    EMPTY: "look at prompt_style and at the chat template of the model",
    TRUNCATED: "raise engine.max_new_tokens",
    UNFINISHED_THINKING: "raise engine.max_growth and engine.max_new_tokens, or give the model a "
    "chat template that does not let it think",
    FRAMED: "let the tokenizer of the model have them as added tokens, or set engine.cut_thinking="
    "true where they are thinking, or look at the chat template of the model",
    NO_CHOICE: "look at what the engine makes of Sampling.choices",
}


def require_answers(engine: Engine, asks: Sequence[Ask], blank: str, out: Out) -> None:
    """Ask an engine that was started just now a few questions, as no rows and no costs.

    `blank` is the prompt around an empty text. Raises UserError (78) when each answer is empty, cut
    at its first token, or framed by what cannot be cut; one that is good enough for a check to
    judge it is enough. Leaves the process when the engine hangs, and returns when the job must end.
    """
    requests = list(requests_of(engine, asks, blank))
    found: dict[int, Completion] = {}
    limit_s = engine.settings.hang_limit_s
    with EngineWatch(limit_s, out.leave, engine.processes) as watch:
        for completions in AnswerStream(engine).answers(requests, watch.beat):
            found |= {completion.key: completion for completion in completions}
            if out.stop:
                return
    faults = {key: fault_of(asks[key], completion) for key, completion in found.items()}
    if not faults or not all(faults.values()):
        return
    said = "; ".join(
        f"{shown(asks[key].words)} was answered by {shown(found[key].text)} ({fault})"
        for key, fault in faults.items()
    )
    cures = "; ".join(CURES[fault] for fault in dict.fromkeys(faults.values()))
    raise UserError(
        f"none of {len(faults)} short questions that come before the rows has an answer that can "
        f"be used: {said}; {cures}",
        CONFIG,
    )


def requests_of(engine: Engine, asks: Sequence[Ask], blank: str) -> Iterator[Request]:
    """A request for each question that fits, numbered as in the list."""
    fixed_tokens = len(engine.prompt_ids([blank])[0])
    every = engine.prompt_ids([ask.words for ask in asks])
    for key, (ask, ids) in enumerate(zip(asks, every, strict=True)):
        limit = answer_limit(engine, len(ids), len(ids) - fixed_tokens)
        if limit is not None:
            limit = 1 if ask.sampling.choices else limit
            yield Request(key, ids, limit, ask.sampling, ask.words)


def fault_of(ask: Ask, completion: Completion) -> str:
    """What makes an answer useless whatever its words are; empty where nothing does."""
    if choices := ask.sampling.choices:
        is_choice = completion.text in choices and len(completion.shares) == len(choices)
        return "" if is_choice else NO_CHOICE
    answer = judged(completion, ask.words)
    if answer.reason in (EMPTY, UNFINISHED_THINKING):
        return answer.reason
    if answer.reason == TRUNCATED and completion.tokens_out <= 1:
        return TRUNCATED
    return FRAMED if is_framed(answer.text, ask.words) else ""


def is_framed(text: str, words: str) -> bool:
    """Whether a text begins or ends with a token of a chat template that its prompt lacks."""
    tokens = [token for token in TOKENS.finditer(text) if token.group() not in words]
    return any(token.start() == 0 or token.end() == len(text) for token in tokens)


def shown(text: str) -> str:
    """A text in quotes, not longer than an error may be."""
    return repr(text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}...")
