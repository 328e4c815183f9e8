"""Differences of translation systems, by sacreBLEU's own paired test.

Its approximate randomization is used. Its paired bootstrap (`--paired-bs`) centers the absolute
difference and takes one tail: of equal systems it shows twice the nominal share as different.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.evaluation.statistics.comparison import (
    FAMILY_LEVEL,
    DifferenceVerdict,
    adjust_by_holm,
)

#: Random swaps of the test; sacreBLEU's default.
TRIALS = 10_000
#: Bootstrap samples of each score's interval; sacreBLEU's default.
BOOTSTRAP_SAMPLES = 1_000


@dataclass(frozen=True)
class SystemComparison:
    """The score of one system in one metric, and its difference to the first system's."""

    label: str
    metric: str
    score: float
    low: float
    high: float
    """95 % bootstrap interval of the score."""
    difference: float
    adjusted_p_value: float
    """By Holm's method over systems and metrics of the table."""
    signature: str

    @property
    def verdict(self) -> DifferenceVerdict:
        """Higher or lower if the difference is significant in its table."""
        if self.adjusted_p_value > FAMILY_LEVEL:
            return DifferenceVerdict.NOT_RESOLVABLE
        return DifferenceVerdict.HIGHER if self.difference > 0 else DifferenceVerdict.LOWER


def compare_translations(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    metrics: Mapping[str, Any],
    trials: int = TRIALS,
) -> list[SystemComparison]:
    """Compare systems with the first one; `metrics` are sacreBLEU's, each with a name of its own.

    Raises: UserError (BAD_DATA) if a system does not translate every sentence.
    """
    for label, texts in systems.items():
        if len(texts) != len(references):
            raise UserError(
                f"{label}: {len(texts)} translations of {len(references)} sentences", BAD_DATA
            )
    from sacrebleu.significance import PairedTest

    named = [(label, list(texts)) for label, texts in systems.items()]
    rows: list[tuple[str, str, Any, Any, str]] = []
    for name, metric in metrics.items():
        # Alone, as sacreBLEU keys its results by names that two metrics may share.
        test = PairedTest(
            named, {name: metric}, [list(references)], "ar", trials, BOOTSTRAP_SAMPLES
        )
        signatures, scores = test()
        key = next(iter(signatures))
        results = scores[key]
        rows += [
            (label, name, results[0], result, str(signatures[key]))
            for label, result in zip(list(systems)[1:], results[1:], strict=True)
        ]
    # sacreBLEU counts larger differences only, so that for equal systems no swap speaks against it.
    p_values = [
        1.0 if result.score == base.score else result.p_value for _, _, base, result, _ in rows
    ]
    adjusted = adjust_by_holm(p_values)
    return [
        SystemComparison(
            label,
            name,
            result.score,
            result.mean - result.ci,
            result.mean + result.ci,
            result.score - base.score,
            p_value,
            signature,
        )
        for (label, name, base, result, signature), p_value in zip(rows, adjusted, strict=True)
    ]
