"""The journal of answers: what is on the disk is not asked again."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from plain_out import PlainContext, PlainInputs

from hala_hpc.core.errors import BAD_DATA, LeaseLost, StopRequested, UserError
from hala_hpc.engines.evaluation.answer_journal import (
    AnswerJournal,
    JournalHook,
    answer_requests,
    request_key,
)
from hala_hpc.stages.report import Report, Settings


@dataclass
class Question:
    """A request as lm-eval makes it."""

    args: tuple[Any, ...]


class Model:
    """Counts what it is asked; it reports answers one by one, and may end in the middle."""

    def __init__(self, journal: AnswerJournal, end_after: int = 10**9) -> None:
        self.hook, self.end_after = JournalHook(journal), end_after
        self.asked: list[str] = []

    def loglikelihood(self, requests: list[Question]) -> list[tuple[float, bool]]:
        answers = []
        for request in requests:
            if len(self.asked) == self.end_after:
                raise KeyboardInterrupt
            self.asked.append(request.args[0])
            answers.append((-float(len(request.args[0])), True))
            self.hook.add_partial("loglikelihood", request.args, answers[-1])
        return answers


class LeaselessContext(PlainContext):
    """A newer attempt has begun."""

    def check_lease(self) -> None:
        raise LeaseLost("gone")


def context(base: Path, **given: Any) -> PlainContext:
    return PlainContext(base, Report(Settings(nodes=["@x"]), PlainInputs()), **given)


def questions(count: int) -> list[Question]:
    return [Question(("x" * number, " y")) for number in range(count)]


def test_an_attempt_asks_only_what_the_one_before_left_open(tmp_path: Path) -> None:
    journal = AnswerJournal(context(tmp_path), 3, interval_s=0)
    first = Model(journal, end_after=6)
    with pytest.raises(KeyboardInterrupt):
        answer_requests(journal, "loglikelihood", questions(10), first.loglikelihood)
    later = AnswerJournal(context(tmp_path), 3, interval_s=0)
    second = Model(later)
    found = answer_requests(later, "loglikelihood", questions(10), second.loglikelihood)
    assert found == [(-float(number), True) for number in range(10)]
    assert first.asked + second.asked == ["x" * number for number in range(10)]


def test_answers_with_other_line_ends_are_read_whole(tmp_path: Path) -> None:
    answers = {f"{n}": f"one{end}two" for n, end in enumerate("\n\r\v\f\x1c\x85\u2028\u2029")}
    journal = AnswerJournal(context(tmp_path), 0, interval_s=3600)
    for key, answer in answers.items():
        journal.add(key, answer)
    journal.write()
    assert AnswerJournal(context(tmp_path), 0).answers == answers


def test_what_was_added_since_the_last_write_is_asked_again(tmp_path: Path) -> None:
    journal = AnswerJournal(context(tmp_path), 0, interval_s=3600)
    model = Model(journal, end_after=6)
    with pytest.raises(KeyboardInterrupt):
        answer_requests(journal, "loglikelihood", questions(10), model.loglikelihood)
    assert not AnswerJournal(context(tmp_path), 0).answers


def test_a_stop_writes_all_answers(tmp_path: Path) -> None:
    out = context(tmp_path, stop_at=1)
    journal = AnswerJournal(out, 0, interval_s=3600)
    out.report_progress(step=1)
    with pytest.raises(StopRequested):
        answer_requests(journal, "loglikelihood", questions(3), Model(journal).loglikelihood)
    assert len(AnswerJournal(context(tmp_path), 0).answers) == 1


def test_equal_requests_are_made_once_and_sampled_ones_each_time(tmp_path: Path) -> None:
    journal = AnswerJournal(context(tmp_path), 0)
    model = Model(journal)
    same = [Question(("a", "b"))] * 3
    assert answer_requests(journal, "loglikelihood", same, model.loglikelihood) == [(-1, True)] * 3
    assert model.asked == ["a"]
    drawn = [Question(("a", {"do_sample": True}))] * 3
    answers = answer_requests(journal, "generate_until", drawn, lambda all_of: ["s"] * len(all_of))
    assert answers == ["s"] * 3
    kinds = [request_key(kind, ("a",)) for kind in ("generate_until", "loglikelihood_rolling")]
    assert kinds[0] != kinds[1]


def test_a_damaged_file_costs_its_answers_only(tmp_path: Path) -> None:
    for number in range(2):
        journal = AnswerJournal(context(tmp_path), 0)
        journal.add(f"key{number}", "answer")
        journal.write()
    first, second = sorted((tmp_path / "kept" / "0").glob("answers-*.jsonl"))
    first.write_bytes(first.read_bytes()[:-20])
    assert len(AnswerJournal(context(tmp_path), 0).answers) == 1
    second.write_bytes(second.read_bytes().replace(b"answer", b"answes", 1))
    assert not AnswerJournal(context(tmp_path), 0).answers


def test_an_attempt_that_was_replaced_writes_nothing(tmp_path: Path) -> None:
    out = LeaselessContext(tmp_path, Report(Settings(nodes=["@x"]), PlainInputs()))
    journal = AnswerJournal(out, 0)
    journal.add("key", 1.0)
    with pytest.raises(LeaseLost):
        journal.write()
    assert not AnswerJournal(context(tmp_path), 0).answers


def test_nan_is_an_error_and_never_an_answer(tmp_path: Path) -> None:
    journal = AnswerJournal(context(tmp_path), 0)
    with pytest.raises(UserError) as caught:
        JournalHook(journal).add_partial("loglikelihood", ("a", "b"), (math.nan, False))
    assert caught.value.code == BAD_DATA
    assert not journal.answers
    JournalHook(journal).add_partial("loglikelihood", ("a", "b"), (-math.inf, False))
    assert len(journal.answers) == 1
