"""Every prompt goes to the model once per worker and, if it is frequent, once for all of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from corpora import pair, row_id, write_corpus
from plain_out import PlainContext
from standin_engine import StandInEngine, arabic, stand_in_config

from hala_hpc.core.stage import UnitCounts
from hala_hpc.data.corpus.reader import Kind, Row, part_name, read_part
from hala_hpc.engines.generation.answer_cache import (
    FREQUENT,
    MAX_SHARED_ANSWERS,
    AnswerCache,
    SharedAnswers,
    compute_answer_key,
)
from hala_hpc.engines.generation.engine import Completion, EngineConfig
from hala_hpc.engines.generation.framed_engine import FramedEngine
from hala_hpc.engines.generation.row_program import (
    DEFAULT_SAMPLING,
    EMPTY,
    Answer,
    Prompt,
    RowJob,
    RowProgram,
    Sampling,
)
from hala_hpc.engines.generation.row_scheduler import RowScheduler
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.unit_files import check_corpus_unit

UNITS = 4


class Asked(StandInEngine):
    """Stores its prompts and their sampling."""

    def __init__(self) -> None:
        super().__init__(stand_in_config(max_num_seqs=4))
        self.asked: list[tuple[str, Sampling]] = []

    def step(self) -> list[Completion]:
        before = dict(self.held)
        completions = super().step()
        done = [before[completion.key] for completion in completions]
        self.asked += [(bytes(request.ids).decode(), request.sampling) for request in done]
        return completions


class AsksTwice:
    """Prompts for a pair with the default sampling, and once for each other sampling."""

    kind: Kind = "pairs"
    wanted: frozenset[str] | None = None

    def __init__(self, *drawn: Sampling) -> None:
        self.extra: dict[str, str] = {}
        self.drawn = drawn

    def fit(self, _room: int, _count: Callable[[str], int]) -> None:
        pass

    def program(self, row: Row) -> RowProgram:
        answer = (yield [Prompt(row["source"])])[0]
        for sampling in self.drawn:
            yield [Prompt(row["source"], sampling, retry_reason="again")]
        return {**row, "target": answer.text}

    def fault(self, before: Row, after: Row) -> str:
        return "" if after["target"] == arabic(before["source"]) else "is wrong"


class Checked:
    """The part of a stage that a commit needs."""

    def __init__(self, work: RowJob) -> None:
        self.work = work

    def check(self, unit: int, folder: Path) -> UnitCounts:
        return check_corpus_unit(unit, folder, self.work)


class Out(PlainContext):
    """An attempt of some worker; all workers have one base."""

    def __init__(self, base: Path, work: RowJob, worker: int = 0) -> None:
        super().__init__(base, Checked(work))  # type: ignore[arg-type]
        self.worker = worker


def work_of(base: Path, texts: Sequence[str], *drawn: Sampling) -> RowJob:
    rows = [{**pair(text, ""), "id": row_id(number)} for number, text in enumerate(texts)]
    return RowJob(write_corpus(base / "c", rows), "c", UNITS, AsksTwice(*drawn))


def test_equal_texts_are_asked_once_by_a_worker(tmp_path: Path) -> None:
    texts = [f"text {number % 5}" for number in range(40)]
    work, engine = work_of(tmp_path, texts), Asked()
    out = Out(tmp_path, work)
    RowScheduler(engine, work, out).run(range(UNITS))
    assert sorted(text for text, _ in engine.asked) == [f"text {number}" for number in range(5)]
    facts = [check_corpus_unit(unit, out.folder(unit), work) for unit in range(UNITS)]
    assert sum(fact.details["texts"] for fact in facts) == 40
    assert sum(fact.details.get("texts_reused", 0) for fact in facts) == 35
    made = [r for unit in range(UNITS) for r in read_part(out.folder(unit) / part_name(unit))]
    assert [row["target"] for row in made] == [arabic(text) for text in texts]


def test_an_answer_that_was_drawn_in_another_way_is_another_answer(tmp_path: Path) -> None:
    ways = (
        Sampling(temperature=0.3),
        Sampling(temperature=0.0),
        Sampling(seed=1),
        Sampling(repetition_penalty=1.1),
    )
    work, engine = work_of(tmp_path, ["one", "one", "two"], *ways, ways[0]), Asked()
    RowScheduler(engine, work, Out(tmp_path, work)).run(range(UNITS))
    assert len(engine.asked) == 2 * (1 + len(ways))
    for text in ("one", "two"):
        drawn = [sampling for asked, sampling in engine.asked if asked == text]
        assert set(drawn) == {DEFAULT_SAMPLING, *ways}


def test_the_key_of_a_prompt_is_its_text_and_its_sampling_alone() -> None:
    keys = [
        compute_answer_key(Prompt(prompt_text, sampling))
        for prompt_text in ("a", "b", "")
        for sampling in (DEFAULT_SAMPLING, Sampling(labels=("a", "b")), Sampling(labels=("b", "a")))
    ]
    assert len(set(keys)) == len(keys)
    assert compute_answer_key(Prompt("a", retry_reason="empty")) == compute_answer_key(Prompt("a"))


def test_frequent_answers_pass_from_one_worker_to_another(tmp_path: Path) -> None:
    # Units 0 and 1 have "often" many times, "rare" twice; so have units 2 and 3.
    texts = [
        "often" if number % 2 else ("rare" if number % 8 == 4 else f"text {number}")
        for number in range(32)
    ]
    work = work_of(tmp_path, texts)
    first, second = Asked(), Asked()
    RowScheduler(first, work, Out(tmp_path, work, 0)).run([0, 1])
    RowScheduler(second, work, Out(tmp_path, work, 1)).run([2, 3])
    assert [text for text, _ in first.asked].count("often") == 1
    asked = [text for text, _ in second.asked]
    assert "often" not in asked
    assert asked.count("rare") == 1


class Tagged(Asked):
    """Puts its answers between tokens of its model."""

    def step(self) -> list[Completion]:
        return [replace(one, text=f"<|A|>{one.text}<|B|>") for one in super().step()]


def test_answers_are_stored_and_shared_without_their_frames(tmp_path: Path) -> None:
    added = [{"content": "<|A|>"}, {"content": "<|B|>"}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    config = EngineConfig(str(tmp_path), EngineSettings())
    work = work_of(tmp_path, ["often"] * 20)
    first, second = Tagged(), Tagged()
    # A commit compares each row with the answer without its frame.
    RowScheduler(FramedEngine(first, config), work, Out(tmp_path, work, 0)).run([0, 1])
    RowScheduler(FramedEngine(second, config), work, Out(tmp_path, work, 1)).run([2, 3])
    assert (len(first.asked), len(second.asked)) == (1, 0)
    [shared] = json.loads((tmp_path / "shared" / "00000.json").read_text()).values()
    assert json.loads(shared) == [arabic("often"), ""]


def test_answers_pass_on_while_workers_run(tmp_path: Path) -> None:
    mine, others = AnswerCache(), AnswerCache()
    one, two = SharedAnswers(tmp_path, 0, mine), SharedAnswers(tmp_path, 1, others)
    given = [
        Answer("نعم\n", ""),
        Answer("", EMPTY),
        Answer("accept", "", (0.1, 0.9)),
    ]
    keys = [compute_answer_key(Prompt(f"q{number}")) for number in range(len(given))]
    for key, answer in zip(keys, given, strict=True):
        mine.put(key, answer)
        for _ in range(FREQUENT):
            mine.get(key)
    assert [others.get(key) for key in keys] == [None] * len(keys)
    one.exchange()
    two.exchange()
    assert [others.get(key) for key in keys] == given
    # The first answer stays, also where another process has another.
    mine.put(keys[0], Answer("another"))
    assert mine.get(keys[0]) == given[0]


def test_a_worker_leaves_one_file_of_a_bounded_size(
    tmp_path: Path,
) -> None:
    answers = AnswerCache()
    shared = SharedAnswers(tmp_path, 3, answers)
    for number in range(MAX_SHARED_ANSWERS + 50):
        key = compute_answer_key(Prompt(f"q{number}"))
        answers.put(key, Answer(f"a{number}"))
        for _ in range(FREQUENT):
            answers.count(key)
    shared.exchange()
    assert [path.name for path in tmp_path.iterdir()] == ["00003.json"]
    other = AnswerCache()
    SharedAnswers(tmp_path, 4, other)
    found = [
        other.get(compute_answer_key(Prompt(f"q{number}")))
        for number in range(MAX_SHARED_ANSWERS + 50)
    ]
    assert sum(answer is not None for answer in found) == MAX_SHARED_ANSWERS
