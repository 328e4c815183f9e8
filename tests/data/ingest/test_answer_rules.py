"""Rules about answers: what each finds, what none may find, and that off, count and reject hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from plain_out import run_plain
from pydantic import ValidationError

from hala_hpc.data.corpus.reader import read_part
from hala_hpc.data.ingest.prepare_settings import PrepareSettings
from hala_hpc.data.ingest.quality_settings import ANSWER_RULES

#: Question and answer of the rows that a rule finds.
FOUND = {
    "empty_answer": [
        ("Say nothing.", "\u200b"),
        ("Say nothing.", "\ufeff"),
        ("Say nothing.", "\u2060\u00ad"),
        ("Say nothing.", "\x1b\x07"),
        ("Say nothing.", " \u200e\n\u200f "),
        ("Say nothing.", "\u3164"),
        ("Say nothing.", "\u2800\u2800"),
        ("Say nothing.", "\ufe0f"),
        ("Say nothing.", "\U000e0020"),
        ("قل شيئا.", "\u061c\u202b\u202c"),
    ],
    "placeholder_answer": [
        ("Who was first?", "N/A"),
        ("Who was first?", "n.a."),
        ("Who was first?", "<noinput>"),
        ("Who was first?", "None."),
        ("Who was first?", "[TODO]"),
        ("Who was first?", "null"),
        ("Who was first?", "..."),
        ("Who was first?", "— — —"),
        ("Who was first?", "(Your answer here)"),
        ("Who was first?", "No answer"),
        ("من كان الأول؟", "«لا يوجد»."),
    ],
    "refusal": [
        ("Write a poem.", "I'm sorry, but I can't assist with that."),
        ("Write a poem.", "I’m sorry, but as an AI language model I have no feelings."),
        ("Write a poem.", "As an AI language model, I do not have personal opinions."),
        ("Write a poem.", "I cannot fulfill this request."),
        ("Write a poem.", "I am unable to help you with that."),
        ("Write a poem.", "I apologize, but I cannot provide that information."),
        ("Write a poem.", "Sorry!\nAs a large language model, I have no access to it."),
        ("Write a poem.", "We can not create such texts."),
        ("Write a poem.", "I'm just a language model."),
        ("Write a poem.", "I won't engage in this."),
        ("اكتب قصيدة.", "عذراً، لا أستطيع مساعدتك في ذلك."),
        ("اكتب قصيدة.", "بصفتي نموذجًا لغويًا، ليس لدي رأي."),
        ("اكتب قصيدة.", "آسف، لكن لا يمكنني تقديم هذه المعلومات."),
    ],
    "copied_answer": [
        ("Name three colours.", "Name three colours."),
        ("Name three colours.", "name three colours"),
        ("Name three colours.", "  NAME, three colours?\n"),
        ("Name three colours.", '"Name three colours."'),
        ("Name three colours.", "**Name three colours**"),
        ("What is 2 + 3?", "What is 2+3"),
        ("اذكر ثلاثة ألوان.", "اذكر ثلاثة ألوان"),
        ("列出三種顏色。", "列出三種顏色"),
        ("+++", "+++"),
        ("Ｎａｍｅ three colours", "Name three colours."),
    ],
}
#: Rows that no rule may find.
GOOD = [
    ("Which sign adds?", "+"),
    ("How does he feel?", "🙂"),
    ("What is one and one?", "2"),
    ("Is it so?", "No."),
    ("Write a space.", "␠"),
    ("Translate yes.", "نعم"),
    ("Name three colours.", "Name: three colours are red, green and blue."),
    ("Can it be?", "It cannot be done with this tool, as it provides no such option."),
    ("What did the firm say?", "The firm said it was sorry that it could not provide the goods."),
    ("What is AI?", "As an AI engineer would say, it is a field of computer science."),
    ("What did he do?", "I can't believe it. He helped them."),
    ("Write a line of an apology.", "Dear Ann, I'm sorry I missed your call yesterday."),
    ("Why?", "Because nobody is able to assist a hundred people at once."),
    ("What is null?", "null is the value that stands for nothing."),
    ("Repeat: good morning", "good morning"),
    ("ماذا قال؟", "قال إنه لا يستطيع الحضور اليوم."),
    ("ما هو؟", "هو نموذج لغوي كبير دربته شركة معروفة."),
]


def run(folder: Path, rows: list[tuple[str, str]], **settings: Any) -> tuple[dict[int, str], Any]:
    """Reasons of the rejected rows by line, and what was found by rule."""
    lines = [json.dumps({"instruction": one, "output": other}) + "\n" for one, other in rows]
    (folder / "rows.jsonl").write_text("".join(lines))
    given = {"data": str(folder / "rows.jsonl"), "units": 1, **settings}
    number = len(list(folder.glob("run*")))
    out = run_plain("prepare", given, folder / f"run{number}")
    lost = (out.folder(0) / "rejected-00000.jsonl").read_text().splitlines()
    accepted = list(read_part(out.folder(0) / "part-00000.parquet"))
    assert len(accepted) + len(lost) == len(rows)
    reasons = {row["line"]: row["reason"] for row in map(json.loads, lost)}
    return reasons, out.markers[0].details["quality"]["found"]


def test_each_rule_finds_what_it_is_for_and_nothing_else(tmp_path: Path) -> None:
    rows = [*GOOD, *(row for name in ANSWER_RULES for row in FOUND[name])]
    names = [""] * len(GOOD) + [name for name in ANSWER_RULES for _ in FOUND[name]]
    expected = {line: name.replace("_", "-") for line, name in enumerate(names, 1) if name and line}
    reasons, found = run(tmp_path, rows, rules=dict.fromkeys(ANSWER_RULES, "reject"))
    texts = {line: rows[line - 1] for line in reasons.keys() | expected.keys()}
    wrong = {
        texts[line]: (reasons.get(line), expected.get(line))
        for line in texts
        if reasons.get(line) != expected.get(line)
    }
    assert not wrong
    assert all(found[name.replace("_", "-")] >= len(FOUND[name]) for name in ANSWER_RULES)


def test_only_empty_answers_are_rejected_by_default_and_count_keeps_every_row(
    tmp_path: Path,
) -> None:
    rows = [*GOOD, *(row for name in ANSWER_RULES for row in FOUND[name])]
    first = len(GOOD) + 1
    empty = dict.fromkeys(range(first, first + len(FOUND["empty_answer"])), "empty-answer")
    reasons, found = run(tmp_path, rows)
    assert (reasons, found) == (empty, {"empty-answer": len(empty)})
    reasons, counted = run(tmp_path, rows, rules=dict.fromkeys(ANSWER_RULES, "count"))
    assert reasons == {}
    assert set(counted) == {name.replace("_", "-") for name in ANSWER_RULES}
    assert run(tmp_path, rows, rules={"empty_answer": "off"}) == ({}, {})
    with pytest.raises(ValidationError, match="'off', 'count' or 'reject'"):
        PrepareSettings.model_validate({"data": "a", "rules": {"refusal": "drop"}})


def test_every_answer_of_a_conversation_and_the_target_of_a_pair_count(tmp_path: Path) -> None:
    turns = ["Hi", "Hello", "Go on", "N/A", "More", "Gladly"]
    roles = ["user", "assistant"] * 3
    messages = [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)]
    path = tmp_path / "talks.jsonl"
    path.write_text(
        json.dumps({"messages": messages}) + "\n" + json.dumps({"messages": messages[:2]})
    )
    given = {"data": str(path), "units": 1, "rules": {"placeholder_answer": "reject"}}
    out = run_plain("prepare", given, tmp_path / "talks")
    assert out.markers[0].rejected == {"placeholder-answer": 1}
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"source": "Hi", "target": "\\u200b"}\n{"source": "Hi", "target": "مرحبا"}')
    out = run_plain("prepare", {"data": str(path), "units": 1}, tmp_path / "pairs")
    assert out.markers[0].rejected == {"empty-answer": 1}
