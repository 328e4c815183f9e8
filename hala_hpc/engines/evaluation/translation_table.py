"""Table of the differences of translation systems to the first one, by sacreBLEU's paired test."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hala_hpc.core.errors import UserError
from hala_hpc.engines.evaluation.domain_tables import domain_table, split_by_domain
from hala_hpc.engines.evaluation.metrics import make_corpus_metrics
from hala_hpc.engines.evaluation.report import DASH, TRANSLATION, Table, format_decimals
from hala_hpc.engines.evaluation.score_files import (
    ModelScores,
    TranslatedSentence,
    score_name,
    translations_name,
)
from hala_hpc.engines.evaluation.statistics.translations import (
    SystemComparison,
    compare_translations,
)

#: Metrics that are tested; BLEU with one tokenizer and chrF++ say the same of most systems.
TESTED = ("bleu_intl", "chrf++")
TRANSLATION_NOTE = (
    "Each system against the first on the same sentences: score with its 95 % bootstrap interval, "
    "and sacreBLEU's approximate randomization of 10,000 swaps, corrected by Holm's method for all "
    "rows of this table."
)


SYSTEMS_NOTE = (
    "Speed is that of the evaluation: one engine, the sentences of this corpus, without its start. "
    "Weights are the files on the disk; the rest of a GPU's memory is cache. The interval is "
    "sacreBLEU's bootstrap of 1,000 samples: differences are in the table above."
)
#: Metric of the table of systems, and bootstrap samples of its interval.
HEADLINE, BOOTSTRAP_SAMPLES = "chrf++", 1_000


class TranslatedCorpus(NamedTuple):
    """What one system made of one corpus."""

    scores: ModelScores
    rows: list[TranslatedSentence]


def read_translations(folder: Path) -> dict[str, dict[str, TranslatedCorpus]]:
    """The translations in the output of an evaluation, by corpus and label of the system."""
    found: dict[str, dict[str, TranslatedCorpus]] = {}
    for path in sorted(folder.glob("translations-*.jsonl")):
        unit = int(path.stem.rpartition("-")[2])
        scores = ModelScores.read(folder / score_name(unit))
        if scores is None or path.name != translations_name(unit):
            continue
        # Not by `splitlines`: texts of models have further line ends, such as U+2028.
        with path.open(encoding="utf-8") as lines:
            rows = [TranslatedSentence(**json.loads(line)) for line in lines]
        found.setdefault(scores.corpus, {})[scores.label] = TranslatedCorpus(scores, rows)
    return found


def translation_tables(node: str, folder: Path) -> list[Table]:
    """For each corpus, the differences of all systems to the first one, and what each costs.

    A corpus with several domains has a table of all domains, and one for each.
    """
    tables = []
    for corpus, systems in read_translations(folder).items():
        where = f"{node}, {corpus}" if corpus else node
        rows = {label: system.rows for label, system in systems.items()}
        tables += [translation_table(where, rows), systems_table(where, systems)]
        if domains := split_by_domain(rows):
            tables.append(domain_table(where, domains))
            tables += [
                translation_table(f"{where}, {name}", each) for name, each in domains.items()
            ]
    return tables


def systems_table(where: str, systems: Mapping[str, TranslatedCorpus]) -> Table:
    """Table of quality, speed and size of systems, such as FP8 beside BF16; empty for one."""
    columns = ["system", "number format", "weights (GB)", "tokens/s", TRANSLATION[HEADLINE]]
    title = f"Quality, speed and size of systems ({where})"
    if len(systems) < 2:
        return Table(title, columns, [])
    rows = [format_cost(label, system) for label, system in systems.items()]
    return Table(title, columns, rows, SYSTEMS_NOTE, (0, 1))


def format_cost(label: str, system: TranslatedCorpus) -> list[str]:
    """The cells of one system."""
    scores, weights = system.scores, system.scores.weights
    found = make_corpus_metrics()[HEADLINE].corpus_score(
        [one.hypothesis for one in system.rows],
        [[one.reference for one in system.rows]],
        n_bootstrap=BOOTSTRAP_SAMPLES,
    )
    low, high = found._mean - found._ci, found._mean + found._ci
    speed = scores.tokens_per_s
    return [
        label,
        weights.number_format if weights else DASH,
        format_decimals(weights.gb) if weights else DASH,
        DASH if speed is None else f"{speed:,.0f}",
        f"{format_decimals(found.score)} [{format_decimals(low)}, {format_decimals(high)}]",
    ]


def translation_table(where: str, systems: Mapping[str, Sequence[TranslatedSentence]]) -> Table:
    """Table of the differences of systems to the first one; empty for one system."""
    first = next(iter(systems))
    columns = ["system", "metric", "score", f"minus {first}", "p (Holm)", "verdict"]
    title = f"Translations compared with {first} ({where})"
    if len(systems) < 2:
        return Table(title, columns, [])
    try:
        found = compare_systems(systems)
    except UserError as error:
        return Table(title, columns, [[DASH] * len(columns)], f"Not compared: {error}.")
    note = "; ".join(dict.fromkeys(f"{one.metric}: {one.signature}" for one in found))
    rows = [format_system(one) for one in found]
    return Table(title, columns, rows, f"{TRANSLATION_NOTE} {note}", (0, 1, 5))


def compare_systems(
    systems: Mapping[str, Sequence[TranslatedSentence]],
) -> list[SystemComparison]:
    """Compare all systems with the first.

    Raises: UserError (BAD_DATA) if one does not translate every sentence.
    """
    metrics = make_corpus_metrics()
    references = [one.reference for one in next(iter(systems.values()))]
    return compare_translations(
        {label: [one.hypothesis for one in rows] for label, rows in systems.items()},
        references,
        {name: metrics[name] for name in TESTED},
    )


def format_system(row: SystemComparison) -> list[str]:
    """The cells of one comparison."""
    sign = "+" if row.difference >= 0 else "−"
    bounds = f"[{format_decimals(row.low)}, {format_decimals(row.high)}]"
    return [
        row.label,
        TRANSLATION[row.metric],
        f"{format_decimals(row.score)} {bounds}",
        f"{sign}{format_decimals(abs(row.difference))}",
        f"{row.adjusted_p_value:.4f}",
        str(row.verdict),
    ]
