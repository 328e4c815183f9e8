"""Items/s of our engine for choices over those of lm-eval's hf backend, on the same requests.

    python -m benchmarks.evaluate [--questions 32] [--generated 64] [--rounds 2]
        [--batch-sizes 8,16,32,64]

Both sides are lm-eval's `_loglikelihood_tokens` on the same random weights in float32; lm-eval has
its logits_cache, and the best of some batch sizes by a first round; ours finds its batch in a
round that does not count. Then rounds alternate. The last line is a JSON object:

- `ratio_to_lm_eval`: items/s of ours over lm-eval's for labels of one token, the median of rounds;
  `ratio_to_lm_eval_several_tokens` the same for labels of several; `cpu_ratio_...` of items per
  second of CPU, for a machine with other work.
- `equal_decisions`: share of questions for which both choose the same label, by log-likelihood per
  token; ties within 1e-3 are left out and counted as `ties`.
- `largest_difference`: of any two log-probabilities.
- `generative_ratio_to_hf`: items/s of our engine on generated answers over lm-eval's hf model with
  the best of the batch sizes; `equal_answers` is the share of texts that are the same.
- `reused`: share of the evaluations of a sweep of five merges, each beside both parents, that are
  taken from another node; 8 of 15 models are the same.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.common.machine import machine
from benchmarks.evaluate.generated import compare_generation
from benchmarks.evaluate.made_up_questions import (
    ONE_TOKEN,
    SEVERAL_TOKENS,
    make_model,
    make_requests,
)
from benchmarks.evaluate.shared_sweep import measure_reuse

TIE = 1e-3


class Asked(NamedTuple):
    """One run of one side."""

    items_per_s: float
    items_per_cpu_s: float
    """Of all threads of this process: what other programs take of the machine is not in it."""
    log_probabilities: list[float]


def ask(lm: Any, requests: Sequence[Any], choices: int) -> Asked:
    """Score requests; items are questions."""
    began, cpu_began = time.monotonic(), time.process_time()
    answers = lm._loglikelihood_tokens(list(requests), disable_tqdm=True)
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
    items = len(requests) / choices
    return Asked(items / seconds, items / cpu_seconds, [value for value, _ in answers])


class Decisions(NamedTuple):
    """Choices of both sides compared."""

    equal: int
    different: int
    ties: int


def compare(ours: Sequence[float], theirs: Sequence[float], labels: Any) -> Decisions:
    """Compare the best label of each question, by log-likelihood per token."""
    equal = different = ties = 0
    count = len(labels)
    for start in range(0, len(ours), count):
        best = []
        for values in (ours[start : start + count], theirs[start : start + count]):
            means = [value / len(label) for value, label in zip(values, labels, strict=True)]
            best.append(means)
        first, second = sorted(best[1], reverse=True)[:2]
        if first - second < TIE:
            ties += 1
        elif best[0].index(max(best[0])) == best[1].index(max(best[1])):
            equal += 1
        else:
            different += 1
    return Decisions(equal, different, ties)


class Bench:
    """Both sides with the same weights."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        from lm_eval.models.huggingface import HFLM

        from hala_hpc.engines.evaluation.choice_model import choice_model_class

        self.questions, self.rounds = given.questions, given.rounds
        self.batch_sizes = [int(size) for size in given.batch_sizes.split(",")]
        settings = {"pretrained": str(folder), "dtype": "float32", "device": "cpu"}
        self.ours = choice_model_class()(**settings)
        self.theirs = HFLM(**settings, logits_cache=True)

    def measure(self, labels: tuple[tuple[int, ...], ...]) -> dict[str, Any]:
        """Both sides on questions with these labels."""
        requests = make_requests(self.questions, labels)
        count = len(labels)
        sizes = {}
        for size in self.batch_sizes:
            self.theirs.batch_size_per_gpu = size
            sizes[size] = ask(self.theirs, requests, count).items_per_s
            print(f"lm-eval, batch size {size}: {sizes[size]:.3f} items/s", flush=True)
        self.theirs.batch_size_per_gpu = max(sizes, key=lambda size: sizes[size])
        ask(self.ours, requests, count)
        ratios, cpu_ratios = [], []
        for _ in range(self.rounds):
            theirs, ours = ask(self.theirs, requests, count), ask(self.ours, requests, count)
            ratios.append(ours.items_per_s / theirs.items_per_s)
            cpu_ratios.append(ours.items_per_cpu_s / theirs.items_per_cpu_s)
            print(f"ours {ours.items_per_s:.3f}, lm-eval {theirs.items_per_s:.3f}", flush=True)
        pairs = zip(ours.log_probabilities, theirs.log_probabilities, strict=True)
        return {
            "ratio": round(median(ratios), 3),
            "cpu_ratio": round(median(cpu_ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "batch_size_of_lm_eval": self.theirs.batch_size_per_gpu,
            "tokens_of_our_batch": self.ours.budget.tokens,
            "difference": max(abs(one - other) for one, other in pairs),
            "decisions": compare(ours.log_probabilities, theirs.log_probabilities, labels),
        }


def main() -> None:
    """Measure, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--generated", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-sizes", default="8,16,32,64")
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory(prefix="hala-evaluate-") as folder:
        make_model(Path(folder))
        bench = Bench(Path(folder), given)
        one, several = bench.measure(ONE_TOKEN), bench.measure(SEVERAL_TOKENS)
        generated = compare_generation(
            Path(folder), given.generated, given.rounds, bench.batch_sizes
        )
        sweep = Path(folder) / "sweep"
        sweep.mkdir()
        reused = measure_reuse(sweep)
    decisions = [one.pop("decisions"), several.pop("decisions")]
    equal = sum(part.equal for part in decisions)
    different = sum(part.different for part in decisions)
    result = {
        "ratio_to_lm_eval": one["ratio"],
        "ratio_to_lm_eval_several_tokens": several["ratio"],
        "cpu_ratio_to_lm_eval": one["cpu_ratio"],
        "cpu_ratio_to_lm_eval_several_tokens": several["cpu_ratio"],
        "equal_decisions": round(equal / max(1, equal + different), 4),
        "ties": sum(part.ties for part in decisions),
        "largest_difference": max(one.pop("difference"), several.pop("difference")),
        "generative_ratio_to_hf": generated["ratio"],
        "equal_answers": generated["equal_answers"],
        "reused": round(reused, 4),
        "questions": given.questions,
        "one_token": one,
        "several_tokens": several,
        "generated": generated,
        **machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
