"""What the units of an evaluation do, and the counts of a finished one."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.stage import UnitCounts

BENCHMARKS = "benchmarks"
TRANSLATION = "translation"


class EvaluationPart(NamedTuple):
    """What one unit does."""

    kind: str
    label: str
    """Label of the model."""
    entry: str
    """Entry of `tasks`, or the name of a corpus."""
    shard: int = 0


def name_of_corpus(reference: str) -> str:
    """The name of a corpus in its scores: that of its node or folder."""
    if reference.startswith("@"):
        return reference[1:].replace("/", "-")
    return Path(reference).name


def plan_parts(
    labels: Sequence[str], entries: Iterable[str], shards: int, corpora: Iterable[str]
) -> list[EvaluationPart]:
    """What each unit does: benchmarks first, as they need no engine.

    Labels change fastest: with as many workers as models, each loads one.
    """
    kinds = [
        (BENCHMARKS, entry, shard) for entry in dict.fromkeys(entries) for shard in range(shards)
    ]
    kinds += [(TRANSLATION, corpus, 0) for corpus in corpora]
    return [
        EvaluationPart(kind, label, entry, shard)
        for kind, entry, shard in kinds
        for label in labels
    ]


def order_units(
    units: Iterable[int], parts: Sequence[EvaluationPart], labels: Sequence[str]
) -> list[int]:
    """The units of a worker in the order in which it makes them: one model after the other."""
    return sorted(
        units, key=lambda unit: (parts[unit].kind == TRANSLATION, labels.index(parts[unit].label))
    )


def check_translation(folder: Path, unit: int) -> UnitCounts:
    """Counts of a unit of translations. Raises: UserError (INTERNAL) if a score is missing."""
    from hala_hpc.engines.evaluation.metrics import METRICS
    from hala_hpc.engines.evaluation.score_files import name_translation_score, read_scores

    found = read_scores(folder, unit)
    names = {name_translation_score(metric, found.corpus) for metric in METRICS}
    if missing := sorted(names - found.scores.keys()):
        raise UserError(f"unit {unit}: {found.label} has no scores {missing}", INTERNAL)
    rows = max(found.samples.values())
    return UnitCounts(
        rows_in=rows,
        rows_out=rows,
        tokens_in=found.tokens_in,
        tokens_out=found.tokens_out,
        details={"label": found.label, "kind": TRANSLATION, "scores": found.scores},
    )


def check_benchmark(folder: Path, unit: int) -> UnitCounts:
    """Counts of a unit of a benchmark, from its items; excluded items are rejected rows.

    Raises: UserError (INTERNAL) if scores and items do not count the same.
    """
    from hala_hpc.engines.evaluation.item_files import count_excluded, items_name, read_items
    from hala_hpc.engines.evaluation.score_files import read_scores

    found = read_scores(folder, unit)
    items = read_items(folder / items_name(unit))
    excluded = count_excluded(items)
    scored = len(items) - excluded.total()
    distinct = len({(one.task, one.item) for one in items})
    if distinct != len(items) or scored != sum(found.samples.values()):
        raise UserError(
            f"unit {unit}: {len(items)} items, {distinct} of them distinct, {excluded.total()} "
            f"excluded, but {sum(found.samples.values())} scored: items were lost or made up",
            INTERNAL,
        )
    return UnitCounts(
        rows_in=len(items),
        rows_out=scored,
        rows_rejected=excluded.total(),
        rows_rejected_content=excluded.total(),
        rejected=dict(excluded),
        details={
            "label": found.label,
            "kind": BENCHMARKS,
            "entry": found.entry,
            "sums": {
                key: one.model_copy(update={"clusters": {}}).to_values()
                for key, one in found.sums.items()
            },
            "data": found.data,
        },
    )
