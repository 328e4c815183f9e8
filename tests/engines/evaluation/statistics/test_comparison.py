"""Paired differences: known answers, families of tests, and what could have been seen."""

import random

import pytest

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.evaluation.statistics.comparison import (
    DifferenceVerdict,
    adjust_by_holm,
    compare_models,
)
from hala_hpc.engines.evaluation.statistics.detectable import mcnemar_power, smallest_detectable
from hala_hpc.engines.evaluation.statistics.paired import (
    difference_interval,
    mcnemar_p_value,
    paired_p_value,
)
from hala_hpc.engines.evaluation.statistics.task_items import PairedTask, TaskItems


def items(task: str, values: list[float], prompt: str = "") -> TaskItems:
    return TaskItems(task, [f"{prompt}{index}" for index in range(len(values))], values)


def discordant(gains: int, losses: int, number: int) -> list[float]:
    return [1.0] * gains + [-1.0] * losses + [0.0] * (number - gains - losses)


def test_mcnemars_test_is_the_two_sided_test_of_signs() -> None:
    # By hand: 2 * (1 + 10 + 45) / 2**10 and 2 / 2**6.
    assert mcnemar_p_value(8, 2) == pytest.approx(112 / 1024)
    assert mcnemar_p_value(0, 6) == pytest.approx(1 / 32)
    assert mcnemar_p_value(5, 5) == 1
    assert mcnemar_p_value(0, 0) == 1


def test_holms_p_values_are_those_of_r() -> None:
    # p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.9), "holm")
    found = adjust_by_holm([0.01, 0.04, 0.03, 0.005, 0.9])
    assert found == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])


def test_random_signs_of_clusters_have_the_p_value_of_scipys_permutation_test() -> None:
    import numpy as np
    from scipy.stats import permutation_test

    drawn = random.Random(5)
    sums = [drawn.gauss(0.5, 1) for _ in range(11)]
    pair = PairedTask("squad", sums, [str(index) for index in range(11)])
    expected = permutation_test(
        (np.array(sums),), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert paired_p_value([pair], 1, 100_000) == pytest.approx(expected, abs=0.005)


def test_random_signs_without_clusters_are_mcnemars_test() -> None:
    values = discordant(14, 5, 60)
    clusters = [str(index) for index in range(60)]
    found = paired_p_value([PairedTask("exams", values, clusters)], 1, 100_000)
    assert found == pytest.approx(mcnemar_p_value(14, 5), abs=0.004)


def test_the_interval_of_a_difference_is_scipys_percentile_bootstrap() -> None:
    import numpy as np
    from scipy.stats import bootstrap

    values = discordant(40, 20, 300)
    low, high = difference_interval([PairedTask("exams", values)], 1)
    expected = bootstrap(
        (np.array(values),), np.mean, method="percentile", n_resamples=5000, rng=2
    ).confidence_interval
    assert [low, high] == pytest.approx([expected.low, expected.high], abs=0.004)


def test_items_of_one_passage_count_as_one() -> None:
    values = [1.0] * 12 + [0.0] * 30
    alone = PairedTask("squad", values)
    shared = PairedTask("squad", values, [str(index // 6) for index in range(42)])
    assert paired_p_value([alone], 1) < 0.001
    # Two clusters of seven differ, in one direction: 2 / 2**2.
    assert paired_p_value([shared], 1) == pytest.approx(0.5, abs=0.02)


def test_the_power_of_mcnemars_test_is_the_sum_over_all_tables() -> None:
    from scipy.stats import multinomial

    number, share, difference = 25, 0.4, 0.3
    shares = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    expected = sum(
        multinomial.pmf([gains, losses, number - gains - losses], number, shares)
        for gains in range(number + 1)
        for losses in range(number + 1 - gains)
        if mcnemar_p_value(gains, losses) <= 0.05
    )
    assert mcnemar_power(number, share, difference, 0.05) == pytest.approx(expected)


def test_the_smallest_visible_difference_of_many_items_is_the_textbooks() -> None:
    # (1.96 + 0.84) * sqrt(discordant / items)
    found = smallest_detectable([PairedTask("mmlu", discordant(1000, 1000, 10_000))], 0.05)
    assert found == pytest.approx(2.8016 * (0.2 / 10_000) ** 0.5, rel=0.03)


def test_five_items_can_show_no_difference() -> None:
    assert smallest_detectable([PairedTask("exams", discordant(1, 0, 5))], 0.05) is None


def test_a_table_names_what_it_resolves_and_what_it_could_have_seen() -> None:
    drawn = random.Random(7)
    base = {task: [float(drawn.random() < 0.5) for _ in range(400)] for task in ("exams", "trust")}
    better = {"exams": [1.0] * 200 + base["exams"][200:], "trust": base["trust"]}
    rows = compare_models(
        [items(task, values) for task, values in base.items()],
        {"tuned": [items(task, values) for task, values in better.items()]},
    )
    exams, trust, mean = rows
    assert [row.task for row in rows] == ["exams", "trust", "mean"]
    assert [row.verdict for row in rows] == [
        DifferenceVerdict.HIGHER,
        DifferenceVerdict.NOT_RESOLVABLE,
        DifferenceVerdict.HIGHER,
    ]
    assert trust.difference == 0
    assert trust.adjusted_p_value == 1
    assert mean.difference == pytest.approx(exams.difference / 2)
    assert exams.low < exams.difference < exams.high
    assert exams.detectable is not None
    assert 0 < exams.detectable < exams.difference
    # The same answers give the same numbers.
    assert rows == compare_models(
        [items(task, values) for task, values in base.items()],
        {"tuned": [items(task, values) for task, values in better.items()]},
    )


def test_models_that_did_not_answer_the_same_questions_are_not_compared() -> None:
    first = [items("exams", [1.0, 0.0, 1.0])]
    for second, message in (
        ([items("exams", [1.0, 0.0, 1.0], "chat ")], "exams: 3 of 3 items have other documents"),
        ([items("exams", [1.0, 0.0])], "exams: 3 items cannot be paired with 2"),
        ([items("trust", [1.0, 0.0, 1.0])], "tuned: only one of both models has exams, trust"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            compare_models(first, {"tuned": second})
        assert caught.value.code == BAD_DATA
