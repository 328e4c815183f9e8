"""Answers that our engine generates, beside lm-eval's hf model on the same prompts and weights."""

import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.evaluate.made_up_questions import make_texts

#: Tokens of each answer: random weights have no end in sight.
ANSWER_TOKENS = 64
CACHE_GB = 1.0


class Request(NamedTuple):
    """A request as lm-eval makes it."""

    args: tuple[str, dict[str, Any]]


class Silent:
    """What an answer count reports to, in a job."""

    stop_requested = False

    def report_progress(self, **counts: float) -> None:
        """Nobody looks."""
        del counts

    def abort(self, error: Exception) -> None:
        """End the benchmark if the engine hangs."""
        raise SystemExit(str(error))


def compare_generation(
    folder: Path, questions: int, rounds: int, batch_sizes: list[int]
) -> dict[str, Any]:
    """Items/s of both sides in alternating rounds, after each has found its batch size."""
    from lm_eval.models.huggingface import HFLM

    from hala_hpc.engines.evaluation.generated_answers import (
        BenchmarkEngine,
        cut_answer,
        make_prompt,
    )
    from hala_hpc.engines.generation.batch import AnswerCount
    from hala_hpc.engines.generation.engine import EngineConfig
    from hala_hpc.engines.generation.settings import EngineSettings

    theirs = HFLM(pretrained=str(folder), dtype="float32", device="cpu")
    settings = EngineSettings(dtype="float32", cpu_cache_gb=CACHE_GB)
    ours = BenchmarkEngine(EngineConfig(str(folder), settings), int(theirs.max_length))
    arguments = {"until": ["</s>"], "max_gen_toks": ANSWER_TOKENS, "do_sample": False}
    requests = [Request((text, arguments)) for text in make_texts(questions)]

    def ask_theirs() -> tuple[float, list[str]]:
        began = time.monotonic()
        found = theirs.generate_until(list(requests), disable_tqdm=True)
        return questions / (time.monotonic() - began), list(found)

    def ask_ours() -> tuple[float, list[str]]:
        began = time.monotonic()
        prompts = [make_prompt(theirs, *one.args) for one in requests]
        found: dict[int, str] = {}

        def take(number: int, text: str) -> None:
            found[number] = cut_answer(text, prompts[number], "</s>")

        ours.answer(prompts, AnswerCount(Silent()), take)  # type: ignore[arg-type]
        return questions / (time.monotonic() - began), [found[n] for n in range(questions)]

    # The engine starts here, which is not counted.
    ask_ours()
    sizes = {}
    for size in batch_sizes:
        theirs.batch_size_per_gpu = size
        sizes[size] = ask_theirs()[0]
        print(f"generated, lm-eval, batch size {size}: {sizes[size]:.3f} items/s", flush=True)
    theirs.batch_size_per_gpu = max(sizes, key=lambda size: sizes[size])
    ratios, equal = [], 0
    for _ in range(rounds):
        (slow, expected), (fast, answers) = ask_theirs(), ask_ours()
        ratios.append(fast / slow)
        equal = sum(a == b for a, b in zip(answers, expected, strict=True))
        print(f"generated, ours {fast:.3f}, lm-eval {slow:.3f}", flush=True)
    ours.close()
    return {
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "batch_size_of_lm_eval": theirs.batch_size_per_gpu,
        "equal_answers": round(equal / questions, 4),
        "answer_tokens": ANSWER_TOKENS,
    }
