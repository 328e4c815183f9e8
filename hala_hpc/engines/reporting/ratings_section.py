"""What people think of the outputs: agreement of the raters first, then win rates and scores."""

from collections.abc import Sequence
from pathlib import Path

from hala_hpc.core.errors import UserError
from hala_hpc.engines.evaluation.report import DASH, Table
from hala_hpc.engines.evaluation.statistics.intervals import MeanInterval
from hala_hpc.engines.rating.agreement import (
    MIN_ALPHA,
    Agreement,
    Rater,
    RatingResults,
    compute_rating_results,
)
from hala_hpc.engines.rating.rating_records import (
    MAX_SCORE,
    list_rating_folders,
    read_returned,
    read_sample,
)
from hala_hpc.engines.reporting.page_content import Block, Lines, PageTable, Section
from hala_hpc.engines.reporting.safe_text import file_stem

LEAD = (
    "People rated the outputs of several systems from 0 to 100 without knowing which system made "
    "which. Look first at how far they agree: what raters do not agree on says little about the "
    "systems."
)
AGREEMENT_NOTE = (
    "Krippendorff's alpha: 1 where raters agree in all, 0 where they agree as often as by chance. "
    "Conclusions usually ask for 0.8, tentative ones for 0.667. A dash: unknown, as no item has "
    "two raters, or as all of them rated alike. Units: outputs, or pairs of outputs, that two "
    "raters or more rated."
)
WIN_NOTE = (
    "How often the first system got a higher score than the second on the same item, by the same "
    "rater; equal scores count as a half, and raters of an item are averaged. Brackets: 95 % "
    f"interval over items. Grey: alpha of this comparison is unknown or below {MIN_ALPHA}, so that "
    "the win rate is no result."
)
PERCENT = 100.0


def read_rating_results(work: Path) -> tuple[list[RatingResults], list[str]]:
    """Results of all ratings of a work folder, and warnings for those that cannot be read."""
    found, warnings = [], []
    for folder in list_rating_folders(work):
        try:
            sample, returned = read_sample(folder), read_returned(folder)
            if sample is not None and returned:
                found.append(compute_rating_results(sample, returned))
        except (UserError, KeyError):
            # Ratings that do not fit their sample are no reason to have no page.
            warnings.append(f"The ratings {folder.name} cannot be read: import them again.")
    return found, warnings


def ratings_section(results: Sequence[RatingResults], warnings: Sequence[str] = ()) -> Section:
    """The section of all ratings."""
    blocks: list[Block] = [table for one in results for table in make_rating_tables(one)]
    if warnings:
        blocks.append(Lines(warnings, is_warning=True))
    return Section("ratings", "Ratings by people", blocks, LEAD)


def make_rating_tables(results: RatingResults) -> list[PageTable]:
    """Agreement, win rates, scores and raters; those without rows are left out."""
    made = [agreement_table(results), win_table(results), score_table(results)]
    return [one for one in [*made, rater_table(results)] if one.table.rows]


def agreement_table(results: RatingResults) -> PageTable:
    """How far raters agree on scores, and on which of two systems is better."""
    found = [results.agreement, *(one.agreement for one in results.win_rates)]
    rows = [[one.about, format_alpha(one), f"{one.units:,}"] for one in found]
    name = results.sample.name
    return PageTable(
        f"rating-agreement-{file_stem(name)}",
        Table(
            f"Agreement of the raters ({name})", ["about", "alpha", "units"], rows, AGREEMENT_NOTE
        ),
        [[one.about, one.alpha, one.units] for one in found],
        ["about", "alpha", "units"],
    )


def win_table(results: RatingResults) -> PageTable:
    """How often a system is preferred to another; grey where raters do not agree."""
    columns = ["system", "against", "win rate, %", "items", "raters agree"]
    rows = [
        [
            one.system,
            one.other,
            format_mean(one.rate, PERCENT, 1.0),
            f"{one.items:,}",
            "unknown" if one.agreement.alpha is None else "no" if one.agreement.is_low else "yes",
        ]
        for one in results.win_rates
    ]
    return PageTable(
        f"rating-wins-{file_stem(results.sample.name)}",
        Table(f"Win rates ({results.sample.name})", columns, rows, WIN_NOTE, (0, 1, 4)),
        [
            [one.system, one.other, *values_of(one.rate), one.items, one.agreement.alpha]
            for one in results.win_rates
        ],
        ["system", "against", "win_rate", "low", "high", "items", "alpha"],
        soft_rows=frozenset(n for n, one in enumerate(results.win_rates) if one.agreement.is_low),
    )


def score_table(results: RatingResults) -> PageTable:
    """Mean scores of the systems; grey where raters do not agree on scores."""
    rows = [
        [one.system, format_mean(one.score, 1.0, MAX_SCORE), f"{one.items:,}"]
        for one in results.scores
    ]
    title = f"Mean scores from 0 to 100 ({results.sample.name})"
    return PageTable(
        f"rating-scores-{file_stem(results.sample.name)}",
        Table(title, ["system", "mean score", "items"], rows),
        [[one.system, *values_of(one.score), one.items] for one in results.scores],
        ["system", "mean", "low", "high", "items"],
        soft_rows=frozenset(range(len(rows))) if results.agreement.is_low else frozenset(),
    )


def rater_table(results: RatingResults) -> PageTable:
    """How much each rater rated, and whether it counts."""
    columns = ["rater", "items", "attention items", "failed", "counts"]
    rows = [describe_rater_row(one) for one in results.raters]
    note = (
        "Attention items have one output that is better beyond doubt. Raters who failed half of "
        "them or more do not count above."
    )
    name = results.sample.name
    return PageTable(
        f"rating-raters-{file_stem(name)}", Table(f"Raters ({name})", columns, rows, note, (0, 4))
    )


def describe_rater_row(rater: Rater) -> list[str]:
    """The cells of a rater."""
    counts = [f"{one:,}" for one in (rater.rated, rater.attention, rater.failed)]
    return [rater.name, *counts, "yes" if rater.is_counted else "no"]


def format_alpha(agreement: Agreement) -> str:
    """Alpha with three digits; a dash if it is unknown."""
    return DASH if agreement.alpha is None else f"{agreement.alpha:.3f}"


def format_mean(mean: MeanInterval, scale: float, limit: float) -> str:
    """A mean with its interval, both within 0 and the limit of its values."""
    low, high = max(mean.low, 0.0), min(mean.high, limit)
    return f"{mean.mean * scale:.1f} [{low * scale:.1f}, {high * scale:.1f}]"


def values_of(mean: MeanInterval) -> list[float]:
    """Mean and bounds with full precision."""
    return [mean.mean, mean.low, mean.high]
