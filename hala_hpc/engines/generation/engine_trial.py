"""A few fixed questions before the rows: an engine whose answers are of no use stops its node.

Only what no row can escape counts, on all of them; how good the answers are is no matter here.
"""

from collections.abc import Iterator, Sequence

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.stage import UnitContext
from hala_hpc.data.checks.phrases import TEMPLATE_TOKENS
from hala_hpc.engines.generation.answer_stream import AnswerStream, compute_answer_limit
from hala_hpc.engines.generation.engine import Completion, Engine, Request
from hala_hpc.engines.generation.request_queue import judge_completion
from hala_hpc.engines.generation.row_program import EMPTY, TRUNCATED, UNFINISHED_THINKING, Prompt
from hala_hpc.engines.generation.watchdog import EngineWatch

#: Letters of a prompt or an answer that the error shows.
MAX_QUOTED_CHARACTERS = 200
FRAMED = "framed"
NO_LABEL = "no_choice"
#: What may help, by what is wrong with an answer.
FIXES = {
    EMPTY: "look at prompt_style and at the chat template of the model",
    TRUNCATED: "raise engine.max_new_tokens",
    UNFINISHED_THINKING: "raise engine.max_growth and engine.max_new_tokens, or give the model a "
    "chat template that does not let it think",
    FRAMED: "let the tokenizer of the model have them as added tokens, or set engine.cut_thinking="
    "true where they are thinking, or look at the chat template of the model",
    NO_LABEL: "look at what the engine makes of Sampling.choices",
}


def check_engine_answers(
    engine: Engine, prompts: Sequence[Prompt], empty_prompt: str, out: UnitContext
) -> None:
    """Ask an engine that was started just now a few questions, as no rows and no costs.

    `blank` is the prompt around an empty text. Raises UserError (78) when each answer is empty, cut
    at its first token, or framed by what cannot be cut; one that is good enough for a check to
    judge it is enough. Leaves the process when the engine hangs, and returns when the job must end.
    """
    requests = list(make_trial_requests(engine, prompts, empty_prompt))
    found: dict[int, Completion] = {}
    limit_s = engine.settings.step_timeout_s
    with EngineWatch(limit_s, out.abort, engine.processes) as watch:
        for completions in AnswerStream(engine).answers(requests, watch.beat):
            found |= {completion.key: completion for completion in completions}
            if out.stop_requested:
                return
    faults = {key: find_answer_fault(prompts[key], completion) for key, completion in found.items()}
    if not faults or not all(faults.values()):
        return
    answers = "; ".join(
        f"{quote_shortened(prompts[key].text)} was answered by {quote_shortened(found[key].text)} ({fault})"
        for key, fault in faults.items()
    )
    fixes = "; ".join(FIXES[fault] for fault in dict.fromkeys(faults.values()))
    raise UserError(
        f"none of {len(faults)} short questions that come before the rows has an answer that can "
        f"be used: {answers}; {fixes}",
        CONFIG,
    )


def make_trial_requests(
    engine: Engine, prompts: Sequence[Prompt], empty_prompt: str
) -> Iterator[Request]:
    """A request for each question that fits, numbered as in the list."""
    fixed_tokens = len(engine.prompt_ids([empty_prompt])[0])
    every = engine.prompt_ids([prompt.text for prompt in prompts])
    for key, (prompt, ids) in enumerate(zip(prompts, every, strict=True)):
        limit = compute_answer_limit(engine, len(ids), len(ids) - fixed_tokens)
        if limit is not None:
            limit = 1 if prompt.sampling.labels else limit
            yield Request(key, ids, limit, prompt.sampling, prompt.text)


def find_answer_fault(prompt: Prompt, completion: Completion) -> str:
    """What makes an answer useless whatever its words are; empty where nothing does."""
    if labels := prompt.sampling.labels:
        is_label = completion.text in labels and len(completion.label_probabilities) == len(labels)
        return "" if is_label else NO_LABEL
    answer = judge_completion(completion, prompt.text)
    if answer.reason in (EMPTY, UNFINISHED_THINKING):
        return answer.reason
    if answer.reason == TRUNCATED and completion.tokens_out <= 1:
        return TRUNCATED
    return FRAMED if is_framed(answer.text, prompt.text) else ""


def is_framed(text: str, prompt: str) -> bool:
    """Whether a text begins or ends with a token of a chat template that its prompt lacks."""
    tokens = [token for token in TEMPLATE_TOKENS.finditer(text) if token.group() not in prompt]
    return any(token.start() == 0 or token.end() == len(text) for token in tokens)


def quote_shortened(text: str) -> str:
    """A text in quotes, not longer than an error may be."""
    return repr(
        text if len(text) <= MAX_QUOTED_CHARACTERS else f"{text[:MAX_QUOTED_CHARACTERS]}..."
    )
