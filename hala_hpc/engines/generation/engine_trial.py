"""Sends a few fixed prompts before the rows: an engine with useless answers stops its node.

Only faults that affect every row count, and only if all answers have one. The quality of the
answers does not matter here.
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

#: Maximum number of characters of a prompt or an answer in the error.
MAX_QUOTED_CHARACTERS = 200
FRAMED = "framed"
NO_LABEL = "no_choice"
#: Fix by fault of an answer.
FIXES = {
    EMPTY: "check prompt_style and the chat template of the model",
    TRUNCATED: "raise engine.max_new_tokens",
    UNFINISHED_THINKING: "raise engine.max_growth and engine.max_new_tokens, or use a chat "
    "template that turns thinking off",
    FRAMED: "make them added tokens of the model's tokenizer, or set engine.cut_thinking=true if "
    "they are thinking, or check the chat template of the model",
    NO_LABEL: "check how the engine implements Sampling.labels",
}


def check_engine_answers(
    engine: Engine, prompts: Sequence[Prompt], empty_prompt: str, out: UnitContext
) -> None:
    """Send a few prompts to an engine that just started; they count as no rows and no costs.

    One answer that a check can judge is enough. `empty_prompt` is the prompt around an empty text.
    Aborts the process if the engine hangs, and returns if the job must stop.

    Raises: UserError (CONFIG) if each answer is empty, cut at its first token, or framed by tokens
    that cannot be stripped.
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
        f"{quote_shortened(prompts[key].text)} was answered by "
        f"{quote_shortened(found[key].text)} ({fault})"
        for key, fault in faults.items()
    )
    fixes = "; ".join(FIXES[fault] for fault in dict.fromkeys(faults.values()))
    raise UserError(
        f"none of the {len(faults)} test prompts before the rows has a usable answer: {answers}; "
        f"{fixes}",
        CONFIG,
    )


def make_trial_requests(
    engine: Engine, prompts: Sequence[Prompt], empty_prompt: str
) -> Iterator[Request]:
    """Make a request for each prompt that fits; its key is the index in the list."""
    fixed_tokens = len(engine.prompt_ids([empty_prompt])[0])
    every = engine.prompt_ids([prompt.text for prompt in prompts])
    for key, (prompt, ids) in enumerate(zip(prompts, every, strict=True)):
        limit = compute_answer_limit(engine, len(ids), len(ids) - fixed_tokens)
        if limit is not None:
            limit = 1 if prompt.sampling.labels else limit
            yield Request(key, ids, limit, prompt.sampling, prompt.text)


def find_answer_fault(prompt: Prompt, completion: Completion) -> str:
    """Fault that makes an answer useless whatever its text is; empty if there is none."""
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
    """Whether a text begins or ends with a chat template token that is not in its prompt."""
    tokens = [token for token in TEMPLATE_TOKENS.finditer(text) if token.group() not in prompt]
    return any(token.start() == 0 or token.end() == len(text) for token in tokens)


def quote_shortened(text: str) -> str:
    """Quote a text, shortened for an error message."""
    return repr(
        text if len(text) <= MAX_QUOTED_CHARACTERS else f"{text[:MAX_QUOTED_CHARACTERS]}..."
    )
