"""Translations by domain: the domain of each sentence, and the scores of all systems in each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hala_hpc.data.corpus.reader import read_domains
from hala_hpc.engines.evaluation.metrics import make_corpus_metrics
from hala_hpc.engines.evaluation.report import DASH, TRANSLATION, Table, format_decimals
from hala_hpc.engines.evaluation.score_files import TranslatedSentence

#: Metrics of the table; the summary has all of them for the whole corpus.
SHOWN = ("bleu_intl", "chrf++")
#: Domain of sentences that have none, beside others that have one.
UNKNOWN = "unknown"
#: Below this number of sentences a score of a corpus says little.
MIN_SENTENCES = 30
DOMAIN_NOTE = (
    "Scores of all sentences of a domain together, and the largest difference to the first system, "
    "by which domains are ordered. A table for each domain tests these differences. "
    f"Domains with fewer than {MIN_SENTENCES} sentences are left out."
)

Systems = Mapping[str, Sequence[TranslatedSentence]]


def add_domains(rows: Iterable[TranslatedSentence], corpus: Path | str) -> list[TranslatedSentence]:
    """The sentences with the domains that their corpus has."""
    domains = read_domains(corpus)
    # The id of a message is that of its conversation and a number.
    return [replace(row, domain=domains.get(row.id.partition(".")[0], "")) for row in rows]


def split_by_domain(systems: Systems) -> dict[str, dict[str, list[TranslatedSentence]]]:
    """The sentences of each system by domain; empty if the corpus has at most one domain.

    Domains with few sentences are left out.
    """
    first = next(iter(systems.values()), [])
    counts: dict[str, int] = {}
    for row in first:
        counts[row.domain] = counts.get(row.domain, 0) + 1
    if len(counts) < 2:
        return {}
    return {
        domain or UNKNOWN: {
            label: [row for row in rows if row.domain == domain] for label, rows in systems.items()
        }
        for domain, count in counts.items()
        if count >= MIN_SENTENCES
    }


def domain_table(where: str, domains: Mapping[str, Systems]) -> Table:
    """Table of the scores of all systems by domain, the largest gap to the first system first."""
    labels = list(next(iter(domains.values()), {}))
    columns = ["domain", "sentences", "metric", *labels, "largest gap"]
    rows = [row for domain in domains.items() for row in score_domain(*domain)]
    rows.sort(key=lambda row: (SHOWN.index(row[0]), -row[1]))
    cells = [cells_of(row) for row in rows]
    return Table(f"Translations by domain ({where})", columns, cells, DOMAIN_NOTE, (0, 2))


def score_domain(domain: str, systems: Systems) -> list[tuple[str, float, str, int, list[float]]]:
    """For each shown metric: its name, the largest gap, domain, sentences, and scores."""
    metrics = make_corpus_metrics()
    found = []
    for name in SHOWN:
        scores = [
            float(
                metrics[name]
                .corpus_score([row.hypothesis for row in rows], [[row.reference for row in rows]])
                .score
            )
            for rows in systems.values()
        ]
        gap = max((abs(score - scores[0]) for score in scores[1:]), default=0.0)
        found.append((name, gap, domain, len(next(iter(systems.values()))), scores))
    return found


def cells_of(row: tuple[str, float, str, int, list[float]]) -> list[str]:
    """The cells of a row of `score_domain`."""
    name, gap, domain, sentences, scores = row
    shown = format_decimals(gap) if len(scores) > 1 else DASH
    return [domain, str(sentences), TRANSLATION[name], *map(format_decimals, scores), shown]
