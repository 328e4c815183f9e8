"""Results of evaluations by content: the first writer wins, and nobody waits for the dead."""

from dataclasses import replace
from pathlib import Path

import pytest

from hala_hpc.core.errors import StopRequested
from hala_hpc.engines.evaluation import evaluation_store
from hala_hpc.engines.evaluation.evaluation_store import (
    STORED_ITEMS,
    STORED_SCORES,
    EvaluationKey,
    EvaluationStore,
)
from hala_hpc.engines.evaluation.model_digest import digest_model

KEY = EvaluationKey("model", "tasks", "shots:0", "lm-eval:1", "auto")


def publish(store: EvaluationStore, text: str, key: EvaluationKey = KEY) -> None:
    staged = store.staging(key)
    for name in (STORED_SCORES, STORED_ITEMS):
        (staged / name).write_text(text)
    store.publish(key, staged, "base", "quiz")


def test_the_first_writer_of_a_result_wins_and_another_key_is_another_result(
    tmp_path: Path,
) -> None:
    one, two = EvaluationStore(tmp_path, "n:0"), EvaluationStore(tmp_path, "n:1")
    publish(one, "first")
    publish(two, "second")
    found = two.find(KEY)
    assert found is not None
    assert (found / STORED_SCORES).read_text() == "first"
    for name in ("model", "tasks", "settings", "engine", "dtype"):
        assert one.find(replace(KEY, **{name: "other"})) is None
    assert [path.name for path in tmp_path.iterdir()] == [KEY.name], "nothing is left beside it"


def test_a_damaged_result_counts_as_none_and_can_be_written_again(tmp_path: Path) -> None:
    store = EvaluationStore(tmp_path, "n:0")
    publish(store, "first")
    (tmp_path / KEY.name / STORED_ITEMS).write_text("torn")
    assert store.find(KEY) is None
    publish(store, "again")
    assert store.find(KEY) is not None


def test_one_worker_makes_a_result_and_its_next_attempt_goes_on(tmp_path: Path) -> None:
    store, other = EvaluationStore(tmp_path, "n:0"), EvaluationStore(tmp_path, "n:1")
    assert store.begin(KEY)
    assert not other.begin(KEY)
    again = EvaluationStore(tmp_path, "n:0")
    assert again.begin(KEY), "the attempt before was killed"
    store.end(KEY)
    again.end(KEY)
    assert other.begin(KEY)
    other.end(KEY)


def test_a_worker_waits_for_signs_of_life_and_not_for_the_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_store, "STALL_LIMIT_S", 0.3)
    monkeypatch.setattr(evaluation_store, "POLL_INTERVAL_S", 0.05)
    dead, store = EvaluationStore(tmp_path, "n:0"), EvaluationStore(tmp_path, "n:1")
    dead.sign(KEY).write_text("n:0 last sign")
    with pytest.raises(StopRequested):
        store.wait(KEY, lambda: True)
    store.wait(KEY, lambda: False)
    assert store.begin(KEY)
    store.end(KEY)


def test_the_digest_of_a_model_is_that_of_its_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("config.json", "tokenizer.json", "model.safetensors", "README.md"):
            (folder / file).write_text("{}")
    (tmp_path / "two" / "README.md").write_text("another card")
    store = tmp_path / "models"
    one = digest_model(tmp_path / "one", {}, store)
    assert digest_model(tmp_path / "two", {}, store) == one
    assert len(list(store.iterdir())) == 2, "digests are computed once for each folder"
    (tmp_path / "two" / "tokenizer.json").write_text("[]")
    assert digest_model(tmp_path / "two", {}, store) != one
    known = {"model.safetensors": "0" * 64}
    assert digest_model(tmp_path / "one", known, store) != one, "known digests are used"
