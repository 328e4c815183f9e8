"""Scores in the form that the hub reads from a model repository: `.eval_results/<benchmark>.yaml`.

The hub shows only results of data sets that are registered as benchmarks there, under the id of a
task in their `eval.yaml`. Of what we evaluate, GSM8K is one (hub-docs, eval-results.md); its task
is `gsm8k` and its value in percent, as in the example of the coalition EvalEval for this form.
Whether other data sets are registered by now is unknown, so nothing is written for them; the card
has all scores.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.files import write_text
from hala_hpc.engines.evaluation.score_files import SCORES_FILE, MergedScores
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.score_rows import PERCENT

EVAL_RESULTS_FOLDER = ".eval_results"


@dataclass(frozen=True)
class RegisteredBenchmark:
    """A benchmark of the hub, and the score that is ours for it."""

    file: str
    dataset: str
    task_id: str
    score: str
    """Key in `scores.json`."""
    questions: int
    """A score of fewer is not that of the benchmark."""


#: The test split of GSM8K has 1,319 questions (arXiv 2110.14168). Strict match asks for the answer
#: in the form of the examples.
REGISTERED_BENCHMARKS = (
    RegisteredBenchmark(
        "gsm8k.yaml", "openai/gsm8k", "gsm8k", "gsm8k/exact_match,strict-match", 1319
    ),
)


def write_eval_results(folder: Path, evaluations: Iterable[tuple[NodeFacts, str]]) -> list[Path]:
    """Write a file for each registered benchmark that a model was wholly evaluated on.

    `evaluations`: those of the model, each with its label there; the last of a benchmark counts.
    """
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml

    entries: dict[str, Any] = {}
    for node, label in evaluations:
        for benchmark, entry in find_entries(node, label):
            entries[benchmark.file] = entry
    paths = []
    for name, entry in entries.items():
        text = yaml.safe_dump(
            eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True
        )
        paths.append(folder / EVAL_RESULTS_FOLDER / name)
        write_text(paths[-1], text)
    return paths


def find_entries(node: NodeFacts, label: str) -> Iterator[tuple[RegisteredBenchmark, Any]]:
    """The `EvalResultEntry` of each registered benchmark in an evaluation."""
    from huggingface_hub import EvalResultEntry

    scores = MergedScores.read_if_valid(node.output / SCORES_FILE) if node.output else None
    if scores is None or node.output is None:
        return
    own = scores.scores.get(label, {})
    for benchmark in REGISTERED_BENCHMARKS:
        questions = count_asked(scores.samples.get(label, {}), benchmark.score)
        if benchmark.score not in own or questions != benchmark.questions:
            continue
        task = benchmark.score.partition("/")[0]
        signature = scores.signatures.get(label, {}).get(task, "")
        yield (
            benchmark,
            EvalResultEntry(
                dataset_id=benchmark.dataset,
                task_id=benchmark.task_id,
                value=round(own[benchmark.score] * PERCENT, 2),
                date=evaluation_time(node).date().isoformat(),
                notes=f"strict match; {signature}" if signature else "strict match",
            ),
        )


def count_asked(samples: Mapping[str, int], score: str) -> int | None:
    """Questions of a score; None if unknown."""
    return samples.get(score, samples.get(score.partition("/")[0]))


def evaluation_time(node: NodeFacts) -> datetime:
    """When an evaluation was complete: the time of its summary."""
    assert node.output is not None
    summary = Artifact(node.output.parent).summary_file
    return datetime.fromtimestamp(summary.stat().st_mtime, UTC)
