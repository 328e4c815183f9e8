"""Score files: one for each unit of an evaluation, merged into `scores.json`."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.files import atomic_file
from hala_hpc.core.record import JsonRecord

SCORES_FILE = "scores.json"


class ScoreSum(JsonRecord):
    """Sums of a metric over the scored items of a task, so that shards can be joined."""

    items: int
    total: float
    squares: float
    """Sum of the squared values."""
    clusters: dict[str, tuple[int, float]] = Field(default_factory=dict)
    """Number of items and sum of the metric in each cluster of items that share a passage or
    subject, an item without one alone; empty if no item has one."""


class GroupMean(JsonRecord):
    """A score of a group: the mean of a metric over its tasks."""

    metric: str
    filters: tuple[str, ...] | None = None
    """lm-eval's filters of answers whose scores are averaged; None for all."""
    is_weighted: bool = True
    """Whether a task counts by the number of its items; else all tasks count the same."""


class TaskGroup(JsonRecord):
    """A group of tasks, and the scores that it has as a whole."""

    tasks: tuple[str, ...]
    means: tuple[GroupMean, ...] = ()
    members: tuple[str, ...] = ()
    """The groups and tasks whose scores are averaged by `member_metric`."""
    member_metric: str = ""
    """Metric whose mean over `members` is a score of the group, as leaderboards show it; lm-eval's
    own mean is that of all tasks, so that a benchmark with many sub-tasks would count more."""


class ModelWeights(JsonRecord):
    """Size and number format of the weights of a translation system."""

    number_format: str
    """Method of quantization, else the type of the numbers, as config.json names it."""
    gb: float
    """10^9 bytes of the weight files."""


class ModelScores(JsonRecord):
    """`scores-00003.json`: the scores of one model in one kind of evaluation.

    That of a benchmark covers one entry of `tasks`, or one shard of it.
    """

    label: str = ""
    """Label of the model."""
    entry: str = ""
    """Entry of `tasks`; empty for translations."""
    corpus: str = ""
    """Corpus that was translated, if there are several; also part of the names of its scores."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Scores by translation metric, as `bleu` or `bleu/<corpus>`, or by `<task>/<metric>`."""
    sums: dict[str, ScoreSum] = Field(default_factory=dict)
    """By `<task>/<metric>`: those of a benchmark whose score is the mean of its items."""
    errors: dict[str, float] = Field(default_factory=dict)
    """Standard errors by the keys of `scores`."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals by the same keys; without a standard error there is none."""
    signatures: dict[str, str] = Field(default_factory=dict)
    """How each score, or the scores of each task, were computed."""
    samples: dict[str, int] = Field(default_factory=dict)
    """Number of questions or sentences that were scored."""
    excluded: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Number of items that cannot be scored, by task and reason."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """First metric of each task: that of the items' outcome."""
    groups: dict[str, TaskGroup] = Field(default_factory=dict)
    """The lm-eval groups among the entries."""
    data: dict[str, str] = Field(default_factory=dict)
    """Commit of each hub data set that tasks read, by its name on the hub."""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_per_s: float | None = None
    """Generated tokens per second of the attempt that finished the translations, without the start
    of the engine; None if it generated nothing."""
    weights: ModelWeights | None = None
    """Those of a translation system."""
    cut: int = 0
    """Answers truncated at the token limit."""
    too_long: int = 0
    """Sentences that exceed the context of the model."""


class MergedScores(JsonRecord):
    """`scores.json`: the scores of all models, each `{label: {name: value}}`."""

    scores: dict[str, dict[str, float]]
    errors: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    samples: dict[str, dict[str, int]]
    signatures: dict[str, dict[str, str]]
    excluded: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Number of items that no model is scored on, by task and reason."""
    entries: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The tasks of each entry of `tasks`."""
    groups: dict[str, TaskGroup] = Field(default_factory=dict)
    """The lm-eval groups among the entries."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """First metric of each task: that of the items' outcome."""
    choose: str | None = None
    """Pattern of the labels among which the best is chosen on one half of the items."""


@dataclass(frozen=True)
class TranslatedSentence:
    """A held-out pair and a model's translation: a line of `translations-00003.jsonl`."""

    id: str
    source: str
    reference: str
    hypothesis: str
    domain: str = ""
    """Domain of the pair; "" if its corpus has none."""


def score_name(unit: int) -> str:
    """Name of the score file of a unit."""
    return f"scores-{unit:05d}.json"


def translations_name(unit: int) -> str:
    """Name of the file with the translations of a unit."""
    return f"translations-{unit:05d}.jsonl"


def write_translations(folder: Path, unit: int, rows: Iterable[TranslatedSentence]) -> None:
    """Write the translations of a unit, a JSON line per sentence."""
    with atomic_file(folder / translations_name(unit)) as path, path.open("w") as file:
        file.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


def name_translation_score(metric: str, corpus: str) -> str:
    """Name of a translation score: `bleu`, or `bleu/opus-test` if there are several corpora."""
    return f"{metric}/{corpus}" if corpus else metric


def read_scores(folder: Path, unit: int) -> ModelScores:
    """Read a score file back and check that all scores are finite, and that all samples have some.

    Raises: UserError (INTERNAL) if not.
    """
    path = folder / score_name(unit)
    found = ModelScores.read(path)
    if found is None:
        raise UserError(f"{path} is missing", INTERNAL)
    known = {*found.scores, *(key.partition("/")[0] for key in (*found.scores, *found.sums))}
    faults = [f"{key} is {v}" for key, v in found.scores.items() if not math.isfinite(v)]
    faults += [f"{key} is {one.total}" for key, one in found.sums.items() if not is_sum(one)]
    faults += [f"{name} has no scores" for name in found.samples if name not in known]
    if faults:
        raise UserError(f"{path.name} of {found.label}: {'; '.join(faults)}", INTERNAL)
    return found


def is_sum(value: ScoreSum) -> bool:
    """Whether sums are finite, and of at least one item."""
    return value.items > 0 and math.isfinite(value.total) and math.isfinite(value.squares)
