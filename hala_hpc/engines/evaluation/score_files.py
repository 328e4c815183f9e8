"""Score files: one for each unit of an evaluation, merged into `scores.json`."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.files import atomic_file
from hala_hpc.core.record import JsonRecord

SCORES_FILE = "scores.json"


class ModelScores(JsonRecord):
    """`scores-00003.json`: the scores of one model in one kind of evaluation."""

    label: str = ""
    """Label of the model."""
    scores: dict[str, float]
    """Scores by translation metric, or by `<task>/<metric>` of a benchmark."""
    errors: dict[str, float] = Field(default_factory=dict)
    """Standard errors by the same keys."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals by the same keys; without a standard error there is none."""
    signatures: dict[str, str] = Field(default_factory=dict)
    """How each score, or the scores of each task, were computed."""
    samples: dict[str, int] = Field(default_factory=dict)
    """Number of questions or sentences."""
    groups: dict[str, list[str]] = Field(default_factory=dict)
    """The tasks of each lm-eval group."""
    data: dict[str, str] = Field(default_factory=dict)
    """Commit of each hub data set that tasks read, by its name on the hub."""
    tokens_in: int = 0
    tokens_out: int = 0
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


@dataclass(frozen=True)
class TranslatedSentence:
    """A held-out pair and a model's translation: a line of `translations-00003.jsonl`."""

    id: str
    source: str
    reference: str
    hypothesis: str


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


def read_scores(folder: Path, unit: int, names: Sequence[str] = ()) -> ModelScores:
    """Read a score file back and check that each name has finite scores.

    A name is a metric, or an lm-eval task or group with metrics `<task>/<metric>`.

    Raises: UserError (INTERNAL) if not.
    """
    path = folder / score_name(unit)
    found = ModelScores.read(path)
    if found is None:
        raise UserError(f"{path} is missing", INTERNAL)
    scores = found.scores
    faults = [f"{key} is {value}" for key, value in scores.items() if not math.isfinite(value)]
    for name in names:
        members = {name, *found.groups.get(name, [])}
        if not any(key.partition("/")[0] in members for key in scores):
            faults.append(f"{name} has no scores")
    faults += [f"{name} has no samples" for name, number in found.samples.items() if number < 1]
    if faults:
        raise UserError(f"{path.name} of {found.label}: {'; '.join(faults)}", INTERNAL)
    return found


def merge_scores(found: Iterable[ModelScores], labels: Sequence[str]) -> MergedScores:
    """Merge the scores of all models, in the order of their labels."""
    merged = MergedScores(
        scores={label: {} for label in labels},
        errors={label: {} for label in labels},
        intervals={label: {} for label in labels},
        samples={label: {} for label in labels},
        signatures={label: {} for label in labels},
    )
    for one in found:
        merged.scores[one.label].update(one.scores)
        merged.errors[one.label].update(one.errors)
        merged.intervals[one.label].update(one.intervals)
        merged.samples[one.label].update(one.samples)
        merged.signatures[one.label].update(one.signatures)
    return merged
