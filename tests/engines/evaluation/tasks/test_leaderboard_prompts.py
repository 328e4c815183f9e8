"""Prompts of the Arabic leaderboard: those of lighteval, to the character."""

import re

import pytest
from golden_prompts import COLUMNS, golden_prompts, golden_sources, read_golden

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.evaluation.tasks.aralingbench import aralingbench_columns
from hala_hpc.engines.evaluation.tasks.leaderboard_prompts import (
    alghafa_columns,
    aratrust_columns,
    qimma_columns,
)


def test_every_row_is_asked_and_scored_as_lighteval_does() -> None:
    assert read_golden()["lighteval"] == "0.13.0"
    count = 0
    for golden in golden_prompts():
        columns = COLUMNS[golden.data_set](golden.row)
        assert columns["plain_prompt"] == golden.plain
        # The turn of the user is what stands between the markup of the template.
        assert f"<|im_start|>user\n{columns['chat_prompt']}<|im_end|>\n" in golden.chat
        assert columns["choice_labels"] == golden.scored
        assert columns["gold_index"] == golden.gold
        # lighteval moves the line end of the template to the scored string, as lm-eval does.
        assert [f"\n{label}" for label in golden.scored] == golden.scored_chat
        count += 1
    assert count > 130


def test_the_golden_rows_have_the_shapes_on_which_prompts_go_wrong() -> None:
    configs = dict.fromkeys(COLUMNS, 0)
    for source in golden_sources():
        configs[source.data_set] += 1
    assert sorted(configs.values()) == [1, 2, 8, 8, 40, 57]
    plain = [golden.plain for golden in golden_prompts()]
    assert any("السياق:\nNone\nالسؤال:" in text for text in plain), "no context"
    assert any(golden.scored == ["أ", "ب", "ج", "د", "هـ"] for golden in golden_prompts())
    assert any(golden.scored == ["أ", "ج", "د"] for golden in golden_prompts())
    assert len("هـ") == 2


def test_a_correct_answer_that_is_no_choice_is_named_with_its_question() -> None:
    row = {"Question": "ماذا؟", "A": "أ) نعم", "B": "ب) لا", "C": "ج) ربما", "Answer": "د"}
    with pytest.raises(
        UserError, match=re.escape("'د' is not among the choices أ, ب, ج")
    ) as caught:
        aratrust_columns(row)
    assert caught.value.code == BAD_DATA
    assert "ماذا؟" in str(caught.value)
    with pytest.raises(UserError, match="'2' is not among the choices 0, 1"):
        alghafa_columns({"query": "?", "sol1": "a", "sol2": "b", "label": "2"})


def test_ready_prompts_of_qimma_are_asked_as_they_are() -> None:
    row = {"prompt": " اختر:\nأ. نعم\nب. لا\nالجواب:\n", "choices": ["نعم", "لا"], "index": 1}
    columns = qimma_columns(row)
    assert columns["plain_prompt"] == columns["chat_prompt"] == row["prompt"]
    assert (columns["choice_labels"], columns["gold_index"]) == (["أ", "ب"], 1)
    assert qimma_columns({**row, "index": [1]}) == columns
    with pytest.raises(UserError, match=re.escape("'[0, 1]' is not among the choices 0, 1")):
        qimma_columns({**row, "index": [0, 1]})


def test_aralingbench_is_asked_with_latin_letters_and_its_context() -> None:
    row = {
        "label": "النحو",
        "context": "نص قصير.",
        "question": "ما إعرابها؟",
        "options": ["فاعل", "مفعول", "حال"],
        "answer": "حال",
    }
    columns = aralingbench_columns(row)
    instruction = "السؤال التالي هو سؤال متعدد الإختيارات. اختر الإجابة الصحيحة:\n\n"
    question = "السياق: نص قصير.\n\nما إعرابها؟\nA. فاعل\nB. مفعول\nC. حال\nالإجابة:"
    assert columns["chat_prompt"] == instruction + question
    assert (columns["choice_labels"], columns["gold_index"]) == (["A", "B", "C"], 2)
    assert "السياق" not in aralingbench_columns({**row, "context": ""})["plain_prompt"]
