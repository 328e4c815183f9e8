"""What is chosen on one half of the items is reported on the other."""

import random

import pytest

from hala_hpc.core.errors import UserError
from hala_hpc.engines.evaluation.statistics.halves import (
    choose_arm,
    compare_with_chosen,
    split_halves,
)
from hala_hpc.engines.evaluation.statistics.task_items import TaskItems


def random_items(seed: int, number: int, clusters: list[str] | None = None) -> TaskItems:
    drawn = random.Random(seed)
    values = [float(drawn.random() < 0.5) for _ in range(number)]
    return TaskItems("exams", [str(index) for index in range(number)], values, clusters)


def test_halves_share_no_item_and_no_passage_and_are_the_same_for_every_model() -> None:
    clusters = [str(index // 5) for index in range(400)]
    first, second = split_halves(random_items(1, 400, clusters))
    assert sorted([*first.hashes, *second.hashes]) == sorted(map(str, range(400)))
    assert not set(first.clusters or ()) & set(second.clusters or ())
    assert 120 < len(first.hashes) < 280
    assert split_halves(random_items(2, 400, clusters))[0].hashes == first.hashes


def test_the_luck_of_the_best_of_twenty_equal_arms_is_not_reported() -> None:
    chosen = [
        choose_arm({str(arm): [random_items(20 * run + arm, 300)] for arm in range(20)})
        for run in range(10)
    ]
    on_choice = sum(one.chosen_on.mean for one in chosen) / 10
    reported = sum(one.reported_on.mean for one in chosen) / 10
    assert on_choice > 0.55
    assert reported == pytest.approx(0.5, abs=0.03)


def test_one_passage_cannot_be_halved() -> None:
    with pytest.raises(UserError, match="12 items cannot be halved"):
        split_halves(random_items(1, 12, ["a"] * 12))


def test_rivals_are_compared_with_the_chosen_one_on_the_other_half_only() -> None:
    first, second = split_halves(random_items(1, 400))
    better = TaskItems("exams", [*first.hashes, *second.hashes], [1.0] * 400)
    # Worse by a tenth, and only where the choice is made.
    lucky = [0.0] * 40 + [1.0] * (len(first.hashes) - 40) + [1.0] * len(second.hashes)
    arms = {
        "better": [better],
        "lucky": [TaskItems("exams", better.hashes, lucky)],
        "worse": [TaskItems("exams", better.hashes, [0.0] * 200 + [1.0] * 200)],
    }
    rivals = compare_with_chosen(choose_arm(arms), arms, resamples=100)
    assert (rivals[0].label, rivals[0].verdict) == ("lucky", "not resolvable")
    assert rivals[0].difference == 0.0
    assert rivals[1].difference == -max(0, 200 - len(first.hashes)) / len(second.hashes)
