"""Choices of questions share the rows that a model reads."""

from hala_hpc.engines.evaluation.batch_budget import WORTHWHILE, BatchBudget
from hala_hpc.engines.evaluation.choice_rows import (
    ONE_PASS,
    PASS_EACH,
    SHARED_PREFIX,
    ChoiceRequest,
    ChoiceRow,
    describe_ways,
    plan_rows,
    ways_of,
)


def ask(context: tuple[int, ...], *choices: tuple[int, ...]) -> list[ChoiceRequest]:
    return [ChoiceRequest(index, context, choice) for index, choice in enumerate(choices)]


def reads_of(rows: list[ChoiceRow]) -> dict[int, list[tuple[tuple[int, ...], int]]]:
    """What is read for each request: the tokens before each token of its choice, and that token."""
    return {
        choice.request: [
            (row.tokens[: choice.start + offset + 1], token)
            for offset, token in enumerate(choice.tokens)
        ]
        for row in rows
        for choice in row.choices
    }


def test_letters_of_one_token_take_one_row() -> None:
    asked = ask((1, 2, 3), (7,), (8,), (9,))
    rows = plan_rows(asked, 100)
    assert [row.tokens for row in rows] == [(1, 2, 3)]
    assert set(ways_of(asked, rows).values()) == {ONE_PASS}


def test_a_common_beginning_is_read_once_and_a_longer_letter_reads_further() -> None:
    # A line end and a letter each; the fifth letter has two tokens.
    asked = ask((1, 2), (5, 7), (5, 8), (5, 9, 4))
    rows = plan_rows(asked, 100)
    assert [row.tokens for row in rows] == [(1, 2, 5, 9)]
    assert reads_of(rows)[2] == [((1, 2), 5), ((1, 2, 5), 9), ((1, 2, 5, 9), 4)]
    assert reads_of(rows)[0] == [((1, 2), 5), ((1, 2, 5), 7)]
    assert set(ways_of(asked, rows).values()) == {ONE_PASS}


def test_letters_with_other_first_bytes_share_rows_as_far_as_they_begin_alike() -> None:
    asked = ask((1,), (5, 7), (5, 8), (6, 7), (6, 8, 9))
    rows = plan_rows(asked, 100)
    assert sorted(row.tokens for row in rows) == [(1, 5), (1, 6, 8)]
    assert set(ways_of(asked, rows).values()) == {SHARED_PREFIX}
    for request, read in zip(asked, (reads_of(rows)[n] for n in range(4)), strict=True):
        assert [token for _, token in read] == list(request.choice)
        assert read[-1][0] == (*request.context, *request.choice[:-1])


def test_texts_take_a_row_each() -> None:
    asked = ask((1,), (2, 3), (4, 5), (6, 7))
    rows = plan_rows(asked, 100)
    assert len(rows) == 3
    assert set(ways_of(asked, rows).values()) == {PASS_EACH}
    assert describe_ways({PASS_EACH: 2, ONE_PASS: 5}) == "one-pass+a-pass-each"


def test_a_question_that_is_too_long_loses_its_first_tokens_as_in_lm_eval() -> None:
    asked = ask(tuple(range(10)), (77,), (78, 79))
    rows = plan_rows(asked, 6)
    # As much as fits: a context of 6 tokens, of which the last token of a choice is not read.
    assert reads_of(rows)[0] == [(tuple(range(4, 10)), 77)]
    assert [tokens for tokens, _ in reads_of(rows)[1]] == [(5, 6, 7, 8, 9), (5, 6, 7, 8, 9, 78)]


def test_rows_are_sorted_by_length_and_no_request_is_lost() -> None:
    requests = [
        ChoiceRequest(3 * n + c, tuple(range(1, n + 2)), (90 + c,))
        for n in range(5)
        for c in range(3)
    ]
    rows = plan_rows(requests, 100)
    assert [len(row.tokens) for row in rows] == [5, 4, 3, 2, 1]
    assert sorted(choice.request for row in rows for choice in row.choices) == list(range(15))


def test_a_batch_grows_while_it_is_faster_and_never_after_memory_was_short() -> None:
    budget = BatchBudget(512)
    for tokens, rate in ((512, 100.0), (1024, 150.0), (2048, 150.0 * WORTHWHILE * 0.99)):
        assert budget.tokens == tokens
        for _ in range(2):
            budget.record(tokens, tokens, tokens / rate)
    assert (budget.tokens, budget.is_found) == (1024, True)
    budget = BatchBudget(512)
    budget.record(200, 250, 1.0)
    assert not budget.rates, "a batch that is not full says nothing"
    assert budget.halve()
    for _ in range(4):
        budget.record(256, 256, 1e-3)
    assert budget.tokens == 256
    assert not BatchBudget(1).halve()
