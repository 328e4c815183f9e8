"""filter judges conversations: a score for each message and for the row, by threshold or share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from corpora import conversation, pair, translated, write_corpus
from plain_out import PlainContext, PlainInputs
from standin_engine import StandInEngine
from tiny_models import make_tokenizer

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.records import UnitMarker
from hala_hpc.data.corpus.reader import Row, read_rows
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.generation.engine import Completion, Request
from hala_hpc.stages.filter import Filter, Settings

UNITS = 3


class WordJudge(StandInEngine):
    """Scores a question by its words: 0.9, 0.2 with `bad`, 0.6 with `fair`."""

    def _answer(self, request: Request) -> Completion:
        question = bytes(request.ids).decode()
        score = 0.2 if "bad" in question else 0.6 if "fair" in question else 0.9
        labels = request.sampling.labels
        verdict = labels[0] if score >= 0.5 else labels[1]
        return Completion(request.key, verdict, True, len(request.ids), 1, (score, 1 - score))


def run(tmp_path: Path, corpus: Path, **given: Any) -> tuple[Any, list[Row], list[Row]]:
    """The details, the accepted rows and the rejected rows."""
    make_tokenizer(tmp_path / "model")
    settings = {
        "model": str(tmp_path / "model"),
        "corpus": str(corpus),
        "units": UNITS,
        "engine": {"name": f"{__name__}:WordJudge"},
        **given,
    }
    stage = Filter(Settings(**settings), PlainInputs())
    out = PlainContext(tmp_path / "out", stage)
    stage.run(range(UNITS), out)
    folders = [out.folder(unit) for unit in range(UNITS)]
    checked = [stage.check(unit, folder) for unit, folder in enumerate(folders)]
    markers = [UnitMarker(unit=unit, **facts.as_dict()) for unit, facts in enumerate(checked)]
    output = tmp_path / "collected"
    output.mkdir()
    details = stage.collect(markers, folders, output)
    return details, list(read_rows(output)), list(read_rows(output / "rejected"))


def corpus_of(folder: Path, rows: Sequence[Row]) -> Path:
    """A corpus of conversations, or of translated ones."""
    if "messages_source" not in rows[0]:
        return write_corpus(folder, list(rows))
    with CorpusWriter(folder / "part-00000.parquet", "translations") as writer:
        for row in rows:
            writer.add(row)
    return folder


TALKS = [
    translated(conversation("One question", "one answer"), "سؤال", "جواب"),
    translated(conversation("Two questions", "bad answer"), "سؤالان", "جواب سيئ"),
    translated(conversation("`x = 1`", "fair answer"), "`x = 1`", "جواب مقبول"),
    translated(conversation("`y`", "`z`"), "`y`", "`z`"),
]


def test_a_translated_conversation_has_the_score_of_its_worst_message(tmp_path: Path) -> None:
    details, good, bad = run(tmp_path, corpus_of(tmp_path / "c", TALKS))
    assert [row["id"] for row in good] == [TALKS[at]["id"] for at in (0, 2, 3)]
    assert [row["message_scores"] for row in good] == [[0.9, 0.9], [None, 0.6], [None, None]]
    assert [row["score"] for row in good] == [0.9, 0.6, 1.0]
    assert [(row["reason"], row["score"]) for row in bad] == [("rejected_by_judge", 0.2)]
    assert bad[0]["message_scores"] == [0.9, 0.2]
    assert bad[0]["messages"] == TALKS[1]["messages"]
    assert good[0]["messages_source"] == TALKS[0]["messages_source"]
    assert details["judge_scores"]["rows"] == 4


def test_the_best_share_of_conversations_is_taken(tmp_path: Path) -> None:
    _, good, bad = run(tmp_path, corpus_of(tmp_path / "c", TALKS), target_share=0.5)
    assert [row["score"] for row in good] == [0.9, 1.0]
    assert len(bad) == 2


def test_the_best_share_keeps_the_tools_of_its_conversations(tmp_path: Path) -> None:
    rows = [conversation("", "One question", "one answer"), conversation("", "Two", "bad answer")]
    for row in rows:
        row["tools"] = '[{"name": "ask"}]'
        row["messages"][2]["name"] = "helper"
    with CorpusWriter(
        tmp_path / "c" / "part-00000.parquet", "conversations", has_fields=True
    ) as to:
        for row in rows:
            to.add(row)
    _, good, bad = run(tmp_path, tmp_path / "c", prompt="Is {text} good?", target_share=0.5)
    for row in [*good, *bad]:
        assert row["tools"] == '[{"name": "ask"}]'
        assert row["messages"][2]["name"] == "helper"
    assert (len(good), len(bad)) == (1, 1)


def test_conversations_that_are_no_translations_are_judged_in_their_context(tmp_path: Path) -> None:
    rows = [conversation("", "Say a bad word", "No."), conversation("", "Good day", "Yes.")]
    prompt = "After {context} is {text} good? accept or reject"
    corpus = corpus_of(tmp_path / "c", rows)
    _, good, bad = run(tmp_path, corpus, prompt=prompt, roles=["assistant"])
    assert [row["id"] for row in good] == [rows[1]["id"]]
    assert [row["message_scores"] for row in bad] == [[None, None, 0.2]]


def test_a_prompt_that_does_not_fit_the_corpus_is_an_error(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [conversation("Good day", "Yes.")])
    stage = Filter(Settings(model="m", corpus=str(corpus)), PlainInputs())
    with pytest.raises(UserError, match=r"no field \{text\}; the corpus holds conversations") as it:
        _ = stage.work
    assert it.value.code == CONFIG
    pairs = write_corpus(tmp_path / "p", [pair("a", "b")])
    stage = Filter(Settings(model="m", corpus=str(pairs), prompt="{text}?"), PlainInputs())
    with pytest.raises(UserError, match=r"no field \{source\}; the corpus holds pairs"):
        _ = stage.work
