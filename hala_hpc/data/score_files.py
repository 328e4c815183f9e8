"""The scores of models: one file for each part of an evaluation, merged side by side."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.files import read_json, whole_file, write_json

#: What an evaluation holds for each model; `scores.json` has the same, by label.
PARTS = ("scores", "errors", "samples", "signatures")


def score_name(unit: int) -> str:
    """Name of the file with the scores that a unit made."""
    return f"scores-{unit:05d}.json"


def translations_name(unit: int) -> str:
    """Name of the file with what a model said to each held-out sentence."""
    return f"translations-{unit:05d}.jsonl"


def write_scores(folder: Path, unit: int, label: str, found: dict[str, Any]) -> None:
    """Write the scores of one model in one kind of evaluation."""
    write_json(folder / score_name(unit), {"label": label, **found})


def write_translations(folder: Path, unit: int, rows: Sequence[dict[str, Any]]) -> None:
    """Write what a model said, a JSON line per sentence."""
    with whole_file(folder / translations_name(unit)) as path, path.open("w") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_scores(folder: Path, unit: int, names: Sequence[str]) -> dict[str, Any]:
    """Read a score file back. Raises UserError (70) unless each name has finite scores.

    A name is a metric, or an lm-eval task or group with metrics `<task>/<metric>`.
    """
    path = folder / score_name(unit)
    found: dict[str, Any] = read_json(path) or {}
    scores = found.get("scores", {})
    faults = [f"{key} is {value}" for key, value in scores.items() if not math.isfinite(value)]
    groups = found.get("groups", {})
    for name in names:
        members = {name, *groups.get(name, [])}
        if not any(key.partition("/")[0] in members for key in scores):
            faults.append(f"{name} has no scores")
    faults += [f"{name} has no samples" for name, n in found.get("samples", {}).items() if n < 1]
    if faults:
        raise UserError(f"{path.name} of {found.get('label')}: {'; '.join(faults)}", INTERNAL)
    return found


def merge_scores(found: Sequence[dict[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Scores, errors, samples and signatures of all models, each `{label: {name: value}}`."""
    merged: dict[str, Any] = {part: {label: {} for label in labels} for part in PARTS}
    for unit in found:
        for part in PARTS:
            merged[part][unit["label"]].update(unit.get(part, {}))
    return merged
