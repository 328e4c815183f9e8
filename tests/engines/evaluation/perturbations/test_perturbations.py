"""Perturbations of items: what each does to a text, the names of entries, and how items pair."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

from hala_hpc.core.errors import UserError
from hala_hpc.engines.evaluation.perturbations.perturbation import (
    PERTURBATIONS,
    perturbation_mistakes,
    plain_entry,
    read_perturbation,
)
from hala_hpc.engines.evaluation.perturbations.perturbed_tasks import perturb_loaded
from hala_hpc.engines.evaluation.perturbations.spelling import CHANGES, NEIGHBORS, VOWELS
from hala_hpc.engines.evaluation.tasks import aralingbench, leaderboard_prompts

TEXT = "أين إقامة القاضي الذي ألّف 25 كتابًا في علم الطاقة؟ print(f'{x1}') الجامعة الأولى"


def changed(kind: str, text: str = TEXT, share: float = 1.0, seed: int = 1) -> str:
    return CHANGES[kind](text, share, random.Random(seed))


def test_letters_that_people_write_alike_become_alike() -> None:
    assert changed("letters", "أإآ إلى رسالة مؤمن بيئة هدى") == "ااا الي رساله مومن بييه هدي"
    assert changed("letters", "Plain text, 12") == "Plain text, 12"


def test_signs_and_strokes_are_added_and_can_be_taken_away_again() -> None:
    signed, stretched = changed("diacritics"), changed("tatweel")
    assert signed != TEXT != stretched
    assert "".join(c for c in signed if c not in VOWELS) == "".join(
        c for c in TEXT if c not in VOWELS
    )
    assert stretched.replace("\u0640", "") == TEXT
    assert changed("diacritics", share=0.0) == TEXT == changed("tatweel", share=0.0)
    assert len(changed("tatweel", share=0.3)) < len(stretched)


def test_digits_change_in_numbers_and_not_in_latin_words() -> None:
    assert changed("digits", "في 1990 نحو 3.5 من H2O و MP3 و x_1") == (
        "في ١٩٩٠ نحو ٣.٥ من H2O و MP3 و x_1"
    )


def test_a_slip_changes_one_place_of_a_word_and_nothing_else() -> None:
    slipped = changed("keyboard").split()
    for before, after in zip(TEXT.split(), slipped, strict=True):
        assert abs(len(before) - len(after)) <= 1
        if not any("\u0621" <= c <= "\u064a" for c in before):
            assert before == after
    assert slipped != TEXT.split()
    assert changed("keyboard", share=0.0) == TEXT
    assert all(letter in NEIGHBORS[other] for letter in NEIGHBORS for other in NEIGHBORS[letter])


def test_nouns_of_the_list_become_english_with_their_prefixes() -> None:
    assert changed("english", "في علم الطاقة والماء بكتاب") == (
        "في علم الـ energy والـ water بـ book"
    )
    assert changed("english", "الكتابة") == "الكتابة"
    assert changed("english", share=0.0) == TEXT


def test_every_name_of_an_entry_has_a_function() -> None:
    assert list(CHANGES) == list(PERTURBATIONS)


def test_an_entry_names_kind_share_and_seed_and_equal_texts_change_alike() -> None:
    found = read_perturbation("arabic+keyboard-0.5-s7")
    assert found == ("keyboard", 0.5, 7)
    assert read_perturbation("arabic") is None
    assert plain_entry("oall_alghafa::meta_ar_msa+letters") == "oall_alghafa::meta_ar_msa"
    assert found is not None
    assert found.apply(TEXT) == found.apply(TEXT)
    assert found.apply(TEXT) != found._replace(seed=8).apply(TEXT)
    letters = read_perturbation("arabic+letters")
    assert letters is not None
    # The letter of a choice is scored and stays.
    assert letters.apply("أ) أمريكا") == "أ) امريكا"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("arabic+keybord-0.1", "did you mean 'keyboard'"),
        ("arabic+keyboard", "keyboard needs a share above 0"),
        ("arabic+keyboard-1.5", "keyboard needs a share above 0"),
        ("arabic+letters-0.5", "letters has no share"),
        ("arabic+", "is no perturbation"),
    ],
)
def test_a_mistake_in_an_entry_is_one_line_with_the_right_form(entry: str, message: str) -> None:
    [line] = perturbation_mistakes(entry)
    assert message in line
    assert perturbation_mistakes("arabic+english-0.3-s2") == perturbation_mistakes("mmlu") == []


class Rows(list[dict[str, Any]]):
    """Rows with the one method of a data set that task files use."""

    def map(self, change: Any) -> "Rows":
        return Rows({**row, **change(row)} for row in self)


class StandInTask:
    """What perturb_loaded reads of a task of lm-eval."""

    def __init__(self, name: str, process: Any) -> None:
        self.task_name = name
        self.config = SimpleNamespace(process_docs=process)

    def set_config(self, key: str, value: Any) -> None:
        if key == "task":
            self.task_name = value
        else:
            setattr(self.config, key, value)


def test_perturbed_items_have_the_labels_and_the_answers_of_the_plain_ones() -> None:
    exams = [
        {"question": "أين الإمارة؟", "A": "أمريكا", "B": "ألمانيا", "C": "آسيا", "D": "إيران"}
        | {"answer": "B", "subject": "تاريخ"}
    ]
    grammar = [
        {"question": "أي كلمة؟", "options": ["أخ", "إلى", "آن"], "answer": "إلى", "label": "النحو"}
    ]
    tasks: dict[str, tuple[StandInTask, list[dict[str, Any]]]] = {
        "oall_exams": (StandInTask("oall_exams", leaderboard_prompts.exams), exams),
        "linguistic::x": (
            StandInTask("linguistic::x", leaderboard_prompts.arabic_mmlu_ht),
            [{"question": "أين؟", "choices": ["أ", "إب", "جـ"], "answer": 1}],
        ),
    }
    plain = {name: task.config.process_docs(Rows(rows)) for name, (task, rows) in tasks.items()}
    loaded: dict[str, dict[str, Any]] = {
        "tasks": {name: task for name, (task, _) in tasks.items()},
        "groups": {"g": "group"},
    }
    found = perturb_loaded(loaded, "g+letters")
    assert list(found["tasks"]) == ["oall_exams+letters", "linguistic::x+letters"]
    assert found["groups"] == {"g+letters": "group"}
    for name, (task, rows) in tasks.items():
        [item], [before] = task.config.process_docs(Rows(rows)), plain[name]
        assert item["gold_index"] == before["gold_index"]
        assert item["choice_labels"] == before["choice_labels"]
        assert item["plain_prompt"] != before["plain_prompt"]
    assert (
        "اين الاماره؟" in tasks["oall_exams"][0].config.process_docs(Rows(exams))[0]["plain_prompt"]
    )
    row = aralingbench.aralingbench_columns(grammar[0])
    assert row["gold_index"] == 1


def test_a_task_whose_texts_are_unknown_is_refused() -> None:
    task = StandInTask("mmlu_law", None)
    with pytest.raises(UserError, match="mmlu_law cannot be perturbed"):
        perturb_loaded({"tasks": {"mmlu_law": task}, "groups": {}}, "mmlu+letters")
