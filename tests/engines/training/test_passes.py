"""How the rows of a step are distributed to ranks and split into passes."""

import random
import time
from itertools import chain

import pytest

from hala_hpc.engines.training.passes import StepCut, count_passes, padded_size, plan_passes


def drawn(rows: int, seed: int, longest: int = 4096) -> list[int]:
    """Lengths as in real corpora: nearly all are short, a few are long."""
    chance = random.Random(seed)
    return [min(longest, max(1, round(chance.lognormvariate(5, 1.2)))) for _ in range(rows)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("limit", [64, 900, 4096, 1_000_000])
@pytest.mark.parametrize("seed", range(4))
def test_every_row_comes_once_in_equally_many_passes_that_are_small_enough(
    ranks: int, limit: int, seed: int
) -> None:
    lengths = drawn(24 * (1 + seed), seed)
    dealt = plan_passes(lengths, StepCut(ranks, limit))
    assert sorted(chain.from_iterable(chain.from_iterable(dealt))) == list(range(len(lengths)))
    assert len(dealt) == ranks
    assert len({len(own) for own in dealt}) == 1
    for rows in chain.from_iterable(dealt):
        assert rows, "no pass is empty"
        assert lengths[rows[0]] == max(lengths[row] for row in rows)
        assert padded_size(lengths, rows) <= limit or len(rows) == 1


def test_the_largest_pass_comes_first_and_those_of_one_time_are_alike() -> None:
    lengths = drawn(256, 5)
    dealt = plan_passes(lengths, StepCut(4, 8192))
    sizes = [[padded_size(lengths, rows) for rows in own] for own in dealt]
    together = list(zip(*sizes, strict=True))
    assert [max(times) for times in together] == sorted(map(max, together), reverse=True)
    waited = sum(4 * max(times) - sum(times) for times in together)
    assert waited < 0.1 * sum(map(sum, sizes))


def test_token_passes_are_fuller_and_waited_for_less_than_those_of_a_number_of_rows() -> None:
    ranks, rows_at_once = 2, 8
    by_rows = by_tokens = 0
    for seed in range(20):
        lengths = sorted(drawn(64, seed), reverse=True)
        firsts = lengths[::rows_at_once]
        in_turn = [firsts[number : number + ranks] for number in range(0, len(firsts), ranks)]
        by_rows += sum(rows_at_once * max(one) for one in in_turn)
        # As large as the largest of those passes.
        dealt = plan_passes(lengths, StepCut(ranks, rows_at_once * firsts[0]))
        sizes = [[padded_size(lengths, rows) for rows in own] for own in dealt]
        by_tokens += sum(map(max, zip(*sizes, strict=True)))
    assert by_tokens < 0.75 * by_rows


def test_a_long_row_is_alone_and_costs_no_padding() -> None:
    lengths = [4000, *[100] * 63]
    (own,) = plan_passes(lengths, StepCut(1, 16_384))
    assert [0] in own
    found = count_passes(lengths, [own])
    assert found.passes <= 3
    assert found.padded_tokens == found.tokens == 4000 + 6300


def test_equal_rows_take_the_fewest_passes() -> None:
    dealt = plan_passes([500] * 64, StepCut(2, 4096))
    assert [len(own) for own in dealt] == [4, 4]
    assert {len(rows) for own in dealt for rows in own} == {8}


def test_a_plan_is_fast_compared_with_a_step() -> None:
    lengths = drawn(1024, 1)
    began = time.process_time()
    for ranks in (1, 16):
        plan_passes(lengths, StepCut(ranks, 8192))
    # Some milliseconds; a step with this number of rows takes at least a second.
    assert time.process_time() - began < 0.5


def test_a_pass_that_costs_more_is_taken_less_often() -> None:
    lengths = drawn(128, 3)
    counts = [len(plan_passes(lengths, StepCut(2, 8192, cost))[0]) for cost in (64, 2048, 100_000)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[1]
