"""Intervals of scores equal those of scipy and lm-eval."""

import math
import random

import pytest

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.evaluation.statistics.intervals import (
    IntervalMethod,
    MeanInterval,
    macro_interval,
    mean_interval,
    reported_interval,
    standard_error,
)
from hala_hpc.engines.evaluation.statistics.task_items import TaskItems


def items(values: list[float], clusters: list[str] | None = None) -> TaskItems:
    return TaskItems("exams", [str(index) for index in range(len(values))], values, clusters)


def outcomes(correct: int, number: int) -> list[float]:
    return [1.0] * correct + [0.0] * (number - correct)


def bounds(found: MeanInterval) -> list[float]:
    return [found.low, found.high]


def test_a_share_of_few_items_has_wilsons_interval_as_in_scipy() -> None:
    from scipy.stats import binomtest

    for correct, number in ((0, 10), (3, 10), (299, 299), (58, 250)):
        found = mean_interval(items(outcomes(correct, number)))
        expected = binomtest(correct, number).proportion_ci(0.95, method="wilson")
        assert found.method is IntervalMethod.WILSON
        assert bounds(found) == pytest.approx([expected.low, expected.high])


def test_a_share_of_many_items_has_the_normal_interval_of_lm_evals_standard_error() -> None:
    from lm_eval.api.metrics import mean_stderr

    values = outcomes(130, 537)
    found = mean_interval(items(values))
    assert found.method is IntervalMethod.NORMAL
    assert found.error == pytest.approx(mean_stderr(values))
    assert bounds(found) == pytest.approx(
        [found.mean - 1.959964 * found.error, found.mean + 1.959964 * found.error]
    )


def test_few_scores_other_than_0_and_1_have_students_interval_as_in_scipy() -> None:
    from scipy.stats import sem, t

    values = [0.1, 0.4, 0.35, 0.8, 0.9]
    expected = t.interval(0.95, 4, loc=0.51, scale=sem(values))
    found = mean_interval(items(values))
    assert found.method is IntervalMethod.STUDENT
    assert bounds(found) == pytest.approx(list(expected))


def test_a_macro_mean_has_the_standard_error_of_lm_eval() -> None:
    from lm_eval.api.metrics import unweighted_mean_stderr

    parts = [mean_interval(items(outcomes(k, n))) for k, n in ((5, 20), (300, 537), (90, 100))]
    found = macro_interval(parts)
    assert found.mean == pytest.approx((5 / 20 + 300 / 537 + 90 / 100) / 3)
    assert found.error == pytest.approx(unweighted_mean_stderr([part.error for part in parts]))


def test_clusters_of_equal_size_have_the_error_of_the_mean_of_their_means() -> None:
    from scipy.stats import sem

    drawn = random.Random(3)
    passages = [[float(drawn.random() < share) for _ in range(5)] for share in (0.1, 0.5, 0.9, 0.6)]
    values = [value for passage in passages for value in passage]
    clusters = [str(index) for index, passage in enumerate(passages) for _ in passage]
    expected = sem([sum(passage) / 5 for passage in passages])
    assert standard_error(items(values, clusters)) == pytest.approx(expected)


def test_items_that_share_a_passage_widen_the_interval() -> None:
    values = [1.0] * 20 + [0.0] * 20
    alone = mean_interval(items(values))
    shared = mean_interval(items(values, [str(index // 4) for index in range(40)]))
    assert shared.method is IntervalMethod.WILSON
    assert shared.high - shared.low > 1.5 * (alone.high - alone.low)
    assert 0 <= shared.low < 0.5 < shared.high <= 1


def test_a_reported_score_has_the_interval_of_its_items_if_they_are_0_and_1() -> None:
    for correct, number in ((3, 10), (10, 10), (130, 537)):
        of_items = mean_interval(items(outcomes(correct, number)))
        assert reported_interval(of_items.mean, of_items.error, number) == of_items
    assert reported_interval(0.3, 0.01, 10).method is IntervalMethod.NORMAL
    assert reported_interval(0.3, 0.05, None).method is IntervalMethod.NORMAL


def test_one_passage_alone_has_a_wide_finite_interval() -> None:
    found = mean_interval(items(outcomes(6, 12), ["a"] * 12))
    assert math.isinf(found.error)
    assert 0 <= found.low < 0.1
    assert 0.9 < found.high <= 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "exams: no items"),
        ([1.0, math.nan, math.inf], "exams: 2 of 3 scores are NaN or infinite"),
    ],
)
def test_scores_without_a_mean_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        items(values)
    assert caught.value.code == BAD_DATA
