"""Scores of models side by side, as tables of a report."""

from collections.abc import Iterable, Sequence
from typing import Any

from hala_hpc.core.records import NodeSummary
from hala_hpc.engines.evaluation.table import DASH, Table, count, details

#: Metrics of translation; every other score is a benchmark's.
TRANSLATION = {"bleu": "BLEU", "chrf++": "chrF++", "rouge_l": "ROUGE-L"}


def score_tables(summary: NodeSummary) -> list[Table]:
    """Translation and benchmark scores of one evaluation, a column for each model."""
    by_label = details(summary).get("scores")
    if not isinstance(by_label, dict):
        return []
    names = list(dict.fromkeys(name for scores in by_label.values() for name in scores))
    node = summary.node
    spoken = [name for name in names if name in TRANSLATION]
    asked = [name for name in names if name not in TRANSLATION]
    return [
        scores_of(f"Translation ({node})", summary, spoken),
        scores_of(f"Benchmarks ({node})", summary, asked),
    ]


def scores_of(title: str, summary: NodeSummary, names: Sequence[str]) -> Table:
    """Scores side by side; from the second model on with the difference to the first."""
    found = details(summary)
    labels = list(found["scores"])
    rows = []
    for name in names:
        values = [found["scores"][label].get(name) for label in labels]
        errors = [found.get("errors", {}).get(label, {}).get(name) for label in labels]
        cells = [
            score(value, error, None if column == 0 else values[0])
            for column, (value, error) in enumerate(zip(values, errors, strict=True))
        ]
        samples = found.get("samples", {}).get(labels[0], {})
        size = samples.get(name, samples.get(name.partition("/")[0]))
        rows.append([TRANSLATION.get(name, name), *cells, count(size)])
    return Table(title, ["score", *labels, "samples"], rows, signatures(found, names))


def score(value: float | None, error: float | None, first: float | None) -> str:
    """A score, its standard error, and how much it is above the first model's."""
    if value is None:
        return DASH
    text = decimals(value)
    if error is not None:
        text += f" ± {decimals(error)}"
    if first is not None:
        # As many digits as the scores: benchmarks count from 0 to 1, translation to 100.
        text += f" ({'+' if value >= first else '−'}{decimals(abs(value - first))})"
    return text


def decimals(value: float) -> str:
    """Two digits for scores up to 100, four for those up to 1."""
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}"


def signatures(found: dict[str, Any], names: Iterable[str]) -> str:
    """How the scores were made, each once."""
    by_label = found.get("signatures", {})
    texts = [f"{n}: {s[n]}" for s in by_label.values() for n in names if n in s]
    return "; ".join(dict.fromkeys(texts))
