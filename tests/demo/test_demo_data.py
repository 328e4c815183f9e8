"""The demo's own texts and models: what the sample holds, and that its language is right."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from command_line import launch

from hala_hpc.demo.benchmark import TASKS, draw_questions
from hala_hpc.demo.pairs import distinct_pairs, judge_lessons
from hala_hpc.demo.patterns import in_arabic, in_english, patterns
from hala_hpc.demo.rows import facts
from hala_hpc.demo.tokenizer import strings_in_row
from hala_hpc.demo.words import Word, lexicon

# Writing the whole sample and its tiny models takes half of what `make check` may.
pytestmark = pytest.mark.slow
ENGLISH = TASKS["english"]


def word(slot: str, english: str) -> Word:
    """A word of the lexicon by its English form."""
    return next(entry for entry in lexicon()[slot] if entry.english[""] == english)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder of a run of the first node of the demo."""
    work = tmp_path_factory.mktemp("demo")
    ended = launch("stage=sample", "recipe=demo", f"work={work}")
    assert ended.code == 0, ended.err
    return work


@pytest.fixture(scope="module")
def with_models(made: Path) -> Path:
    """The same with the tiny models."""
    ended = launch("stage=tiny", "recipe=demo", f"work={made}")
    assert ended.code == 0, ended.err
    return made


def output(work: Path, node: str) -> Path:
    """What a node wrote."""
    (found,) = work.glob(f"{node}-[0-9a-f]*/output")
    return found


def rows(work: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a file of the sample."""
    text = (output(work, "sample") / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_there_are_a_few_hundred_patterns_and_all_can_be_filled() -> None:
    assert len(patterns()) >= 300
    assert sum(len(words) for words in lexicon().values()) >= 300
    draw = random.Random(0)
    for pattern in patterns():
        for pair in pattern.fill(draw):
            assert not set("{}~?/|") & set(pair.english.replace("?", "") + pair.arabic), pair


@pytest.mark.parametrize(
    ("pattern", "slots", "arabic"),
    [
        ("{object.def} {colour~object}", {"object": "book", "colour": "red"}, "الكتاب أحمر"),
        ("{object.def} {colour~object}", {"object": "map", "colour": "red"}, "الخريطة حمراء"),
        ("{object.acc} {quality.acc~object}", {"object": "pen", "quality": "new"}, "قلما جديدا"),
        ("{object.acc} {colour.acc~object}", {"object": "pen", "colour": "red"}, "قلما أحمر"),
        ("{object.acc} {quality.acc~object}", {"object": "map", "quality": "new"}, "خريطة جديدة"),
        ("{animal.acc} {wild.acc~animal}", {"animal": "rabbit", "wild": "slow"}, "أرنبا بطيئا"),
        ("{drink.acc}", {"drink": "water"}, "ماء"),
        ("{count~object} {object.pl}", {"count": "three", "object": "book"}, "ثلاثة كتب"),
        ("{count~object} {object.pl}", {"count": "three", "object": "map"}, "ثلاث خرائط"),
        ("{object.my} و{object.our}", {"object": "map"}, "خريطتي وخريطتنا"),
        ("{who?كتب/كتبت} {who}", {"who": "Sara"}, "كتبت سارة"),
        ("{who} {job~who}", {"who": "Ali", "job": "cook"}, "علي طباخ"),
        ("{who} {job~who}", {"who": "Sara", "job": "cook"}, "سارة طباخة"),
        ("{job.to}", {"job": "teacher"}, "للمعلم"),
    ],
)  # fmt: skip
def test_arabic_words_agree(pattern: str, slots: dict[str, str], arabic: str) -> None:
    assert in_arabic(pattern, {slot: word(slot, name) for slot, name in slots.items()}) == arabic


@pytest.mark.parametrize(
    ("pattern", "slots", "english"),
    [
        ("{who} has a {object}", {"who": "Ali", "object": "umbrella"}, "Ali has an umbrella"),
        ("a {place}", {"place": "university"}, "A university"),
        ("{object.pl}", {"object": "candle"}, "Candles"),
    ],
)  # fmt: skip
def test_english_takes_its_articles_and_capitals(
    pattern: str, slots: dict[str, str], english: str
) -> None:
    assert in_english(pattern, {slot: word(slot, name) for slot, name in slots.items()}) == english


def test_the_judge_is_asked_about_right_and_spoilt_pairs_alike() -> None:
    draw = random.Random(1)
    source = distinct_pairs(draw)
    pairs = [next(source) for _ in range(200)]
    right = {(pair.english, pair.arabic) for pair in pairs}
    lessons = list(judge_lessons(pairs, "{source} = {target}", draw))
    verdicts = [(question, verdict) for question, verdict in lessons if " = " in question]
    assert [verdict for _, verdict in verdicts].count("accept") == len(verdicts) / 2 == 100
    for question, verdict in verdicts:
        english, arabic = question.split(" = ")
        assert ((english, arabic) in right) == (verdict == "accept"), question


def test_the_sample_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    def start(seed: int) -> list[str]:
        source = distinct_pairs(random.Random(seed))
        return [next(source).arabic for _ in range(50)]

    assert start(3) == start(3) != start(4)


def test_held_out_sentences_are_nowhere_else(made: Path) -> None:
    held_out = {row["translation"]["en"] for row in rows(made, "held-out.jsonl")}
    assert len(held_out) == 200
    assert not held_out & {pair.english for turn in facts() for pair in turn}
    folder = output(made, "sample")
    for path in folder.glob("*.jsonl"):
        if path.name == "held-out.jsonl":
            continue
        for row in rows(made, path.name):
            texts = [message["content"] for message in row.get("messages", [])]
            texts.append(row.get("translation", {}).get("en", ""))
            texts.append(row.get("source", "").removeprefix("Accept or reject: ").split(" =")[0])
            assert not held_out & set(texts), (path.name, row)


def test_hand_written_rows_have_every_shape(made: Path) -> None:
    alpaca, messages = rows(made, "alpaca.jsonl"), rows(made, "messages.jsonl")
    assert 190 <= len(alpaca) + len(messages) <= 230
    answers = [row["output"] for row in alpaca]
    conversations = [row["messages"] for row in messages]
    assert sum("```" in text for text in answers) >= 10
    assert sum("$" in text for text in answers) >= 10
    assert sum(text.startswith(("- ", "1. ")) for text in answers) >= 10
    assert sum(bool(row["input"]) for row in alpaca) >= 20
    assert sum(talk[0]["role"] == "system" for talk in conversations) >= 20
    assert sum(len(talk) > 3 for talk in conversations) >= 20
    assert all(talk[-1]["role"] == "assistant" for talk in conversations)
    questions = [row["instruction"] + row["input"] for row in alpaca]
    assert len(set(questions)) == len(questions)


def test_every_fact_is_in_the_english_rows_once(made: Path) -> None:
    instructions = [row["messages"][-2]["content"] for row in rows(made, "english.jsonl")]
    for question, _ in facts():
        assert question.english in instructions


def test_the_benchmark_asks_400_questions_in_each_language_that_no_training_data_has(
    made: Path,
) -> None:
    asked = {task: rows(made, f"benchmark/{task}.jsonl") for task in TASKS.values()}
    texts = set()
    for found in asked.values():
        assert len({row["question"] for row in found}) == 400
        assert all(len(set(row["choices"])) == 4 for row in found)
        assert [row["answer"] for row in found] == [row["answer"] for row in asked[ENGLISH]]
        texts |= {row["question"] for row in found}
    folder = output(made, "sample")
    for path in folder.glob("*.jsonl"):
        for row in rows(made, path.name):
            assert not texts & set(strings_in_row(row)), (path.name, row)
            judged = row.get("source", "").removeprefix("Accept or reject: ").split(" = ")
            assert not texts & set(judged), (path.name, row)


def test_wrong_answers_differ_from_the_correct_one_in_one_word_of_the_question() -> None:
    for question in draw_questions(100, random.Random(5)):
        correct = question.choices[question.answer].english.split()
        for choice in question.choices:
            assert abs(len(choice.english.split()) - len(correct)) <= 2, question
        row = question.row("english")
        assert row["choices"][row["answer"]] == " ".join(correct)


def test_more_questions_than_there_are_is_refused(tmp_path: Path) -> None:
    arguments = ("stage=sample", "recipe=demo", f"work={tmp_path}/w")
    ended = launch(*arguments, "sample.questions=100000")
    assert ended.code == 78, ended
    assert "questions=100000: there are" in ended.err


def test_the_benchmark_loads_without_a_network(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from lm_eval.tasks import TaskManager

    folder = output(made, "sample") / "benchmark"
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    assert sorted(manager.all_tasks) == sorted(TASKS.values())
    for task in TASKS.values():
        assert f"test: {json.dumps(str(folder / f'{task}.jsonl'))}" in (
            folder / f"{task}.yaml"
        ).read_text(encoding="utf-8")


@pytest.mark.long
def test_all_tiny_models_share_one_vocabulary_that_can_write_anything(with_models: Path) -> None:
    from transformers import AutoTokenizer

    tokenizers = [
        AutoTokenizer.from_pretrained(output(with_models, f"tiny-{name}"))
        for name in ("lfm2", "cohere2", "qwen2")
    ]
    first = tokenizers[0].get_vocab()
    assert all(tokenizer.get_vocab() == first for tokenizer in tokenizers)
    strange = "naïve 中文 🙂 \\frac{a}{b} <|x|>\tكتاب"
    for tokenizer in tokenizers:
        assert tokenizer.decode(tokenizer(strange)["input_ids"]) == strange
        asked = tokenizer.apply_chat_template(
            [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
            add_generation_prompt=True,
            tokenize=False,
        )
        assert all(part in asked for part in ("S", "U", tokenizer.eos_token))


@pytest.mark.long
def test_a_tiny_lfm2_has_what_vllm_reads(with_models: Path) -> None:
    config = json.loads(
        (output(with_models, "tiny-lfm2") / "config.json").read_text(encoding="utf-8")
    )
    assert config["block_dim"] == config["conv_dim"] == config["conv_dim_out"] == 128
    assert config["block_ff_dim"] == config["intermediate_size"] == 256
    assert config["num_heads"] == 4
    assert config["block_auto_adjust_ff_dim"] is False
    assert (config["pad_token_id"], config["bos_token_id"], config["eos_token_id"]) == (0, 1, 7)


def test_a_pattern_of_one_slot_can_be_filled_with_every_word() -> None:
    question = "What is the capital of {country}?"
    pattern = next(pattern for pattern in patterns() if pattern.pairs[0].english == question)
    filled = list(pattern.fill_all())
    assert len(filled) == len(lexicon()["country"])
    assert filled[0][1].english == "The capital of Egypt is Cairo."


def test_a_tiny_model_of_an_odd_width_is_refused(tmp_path: Path) -> None:
    ended = launch("stage=tiny-lfm2", "recipe=demo", f"work={tmp_path}/w", "tiny-lfm2.hidden=100")
    assert ended.code == 64
    assert "100 is not a multiple of 32" in ended.err
    assert not (tmp_path / "w").exists()
