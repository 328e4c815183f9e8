"""What follows from ratings: agreement of the raters first, then how often a system wins.

Agreement is Krippendorff's alpha with squared differences (his interval metric), by nltk: 1 for
equal ratings, 0 for what chance gives. Values that are missing are left out; they need not be equal
in number. Krippendorff asks for 0.8, and for 0.667 where conclusions may be tentative (Content
Analysis, 2004). MIN_ALPHA is ours: below it a win rate is shown, but not as a result.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from hala_hpc.engines.evaluation.statistics.intervals import MeanInterval, mean_interval
from hala_hpc.engines.evaluation.statistics.task_items import TaskItems
from hala_hpc.engines.rating.rating_records import ItemRating, RaterRatings, RatingSample

MIN_ALPHA = 0.4
#: From this share of failed attention items on, a rater does not count.
MAX_FAILED_SHARE = 0.5
WIN, TIE, LOSS = 1.0, 0.5, 0.0
#: A rater, a unit, and what the rater thinks of it.
Judgement = tuple[str, str, float]


@dataclass(frozen=True)
class Rater:
    """One rater."""

    name: str
    rated: int
    """Items of the systems with a score for an output."""
    attention: int
    """Attention items with all scores."""
    failed: int
    """Of these, those where the known best output did not get the highest score."""

    @property
    def is_counted(self) -> bool:
        """Whether the ratings count."""
        return not self.attention or self.failed / self.attention < MAX_FAILED_SHARE


@dataclass(frozen=True)
class Agreement:
    """How far raters agree."""

    about: str
    alpha: float | None
    """None if no unit has two raters, or if all values are equal."""
    units: int
    """Units with two raters or more."""

    @property
    def is_low(self) -> bool:
        """Whether it is too low, or unknown, to rely on what follows."""
        return self.alpha is None or self.alpha < MIN_ALPHA


@dataclass(frozen=True)
class WinRate:
    """How often a system is preferred to another."""

    system: str
    other: str
    rate: MeanInterval
    """Mean over items; a tie counts as a half. Raters of an item are averaged first."""
    items: int
    agreement: Agreement


@dataclass(frozen=True)
class SystemScore:
    """Mean score of a system, 0 to 100."""

    system: str
    score: MeanInterval
    items: int


@dataclass(frozen=True)
class RatingResults:
    """All that follows from the ratings of a sample."""

    sample: RatingSample
    raters: Sequence[Rater]
    agreement: Agreement
    """Of the scores."""
    scores: Sequence[SystemScore]
    win_rates: Sequence[WinRate]


def compute_rating_results(sample: RatingSample, returned: Sequence[RaterRatings]) -> RatingResults:
    """Compute the results; raters who failed the attention items are listed and do not count."""
    raters = [describe_rater(sample, one) for one in returned]
    counted = [one for one, rater in zip(returned, raters, strict=True) if rater.is_counted]
    by_system = {name: score_judgements(sample, counted, name) for name in sample.systems}
    scores = [
        SystemScore(name, mean_of_units(name, found), len({unit for _, unit, _ in found}))
        for name, found in by_system.items()
        if found
    ]
    every = [(rater, f"{unit} {name}", v) for name, f in by_system.items() for rater, unit, v in f]
    win_rates = [
        win_rate
        for system, other in combinations(sample.systems, 2)
        if (win_rate := compute_win_rate(sample, counted, system, other))
    ]
    return RatingResults(sample, raters, measure_agreement("scores", every), scores, win_rates)


def describe_rater(sample: RatingSample, returned: RaterRatings) -> Rater:
    """Count the items of a rater, and the attention items that were failed."""
    by_id = sample.by_id
    rated = attention = failed = 0
    for rating in returned.ratings:
        item = by_id[rating.item]
        if item.best is None:
            rated += not rating.is_empty
        elif None not in rating.scores:
            others = [score for n, score in enumerate(rating.scores) if n != item.best]
            attention += 1
            failed += any((score or 0.0) >= (rating.scores[item.best] or 0.0) for score in others)
    return Rater(returned.rater, rated, attention, failed)


def score_judgements(
    sample: RatingSample, returned: Sequence[RaterRatings], system: str
) -> list[Judgement]:
    """The scores that raters gave to the outputs of a system."""
    return [
        (one.rater, rating.item, score)
        for one in returned
        for rating in one.ratings
        if (score := scores_by_system(sample, rating).get(system)) is not None
    ]


def scores_by_system(sample: RatingSample, rating: ItemRating) -> Mapping[str, float]:
    """The scores of an item by system; empty for an attention item."""
    systems = sample.by_id[rating.item].systems
    pairs = zip(systems, rating.scores, strict=False)
    return {system: score for system, score in pairs if score is not None}


def compute_win_rate(
    sample: RatingSample, returned: Sequence[RaterRatings], system: str, other: str
) -> WinRate | None:
    """The win rate of a system; None if no rater gave both a score."""
    found: list[Judgement] = []
    for one in returned:
        for rating in one.ratings:
            scores = scores_by_system(sample, rating)
            if system in scores and other in scores:
                found.append((one.rater, rating.item, prefer(scores[system], scores[other])))
    if not found:
        return None
    about = f"{system} against {other}"
    items = len({unit for _, unit, _ in found})
    return WinRate(
        system, other, mean_of_units(about, found), items, measure_agreement(about, found)
    )


def prefer(score: float, other: float) -> float:
    """Which of two scores is higher."""
    if score == other:
        return TIE
    return WIN if score > other else LOSS


def mean_of_units(name: str, judgements: Sequence[Judgement]) -> MeanInterval:
    """Mean over units, each being the mean of its raters, who are not independent of each other."""
    by_unit: dict[str, list[float]] = {}
    for _, unit, value in judgements:
        by_unit.setdefault(unit, []).append(value)
    means = [sum(values) / len(values) for values in by_unit.values()]
    return mean_interval(TaskItems(name, list(by_unit), means))


def measure_agreement(about: str, judgements: Sequence[Judgement]) -> Agreement:
    """Krippendorff's alpha over the units that two raters or more have judged."""
    raters = Counter(unit for _, unit, _ in judgements)
    shared = [one for one in judgements if raters[one[1]] > 1]
    units = len({unit for _, unit, _ in shared})
    if len({value for _, _, value in shared}) < 2:
        return Agreement(about, None, units)
    from nltk.metrics.agreement import AnnotationTask
    from nltk.metrics.distance import interval_distance

    alpha = AnnotationTask(data=shared, distance=interval_distance).alpha()
    return Agreement(about, float(alpha), units)
