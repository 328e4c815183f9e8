"""Rejected rows are written with the reason, counted, limited, and can be run again.

Through the command line, with the stand-in engine of tests/standin.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from checkout import STANDIN
from command_line import CommandResult, launch, recipe, run_command

from benchmarks.kills.node import STAND_IN_ENGINE, empty_model
from hala_hpc.data.corpus.reader import read_rows

#: The stand-in has no answer to texts that contain this.
NOTHING = "speechless"


def run(tmp_path: Path, work: Path, *overrides: str) -> CommandResult:
    rows = tmp_path / "rows.jsonl"
    with rows.open("w") as file:
        for number in range(60):
            subject = NOTHING if number % 4 == 0 else "quiet"
            texts = {
                "instruction": f"Who is {subject} in house {number}?",
                "output": "The old man.",
            }
            file.write(json.dumps(texts) + "\n")
    model = empty_model(tmp_path / "model")
    text = f"""
[english]
stage = "prepare"
data = "{rows}"
units = 2
[arabic]
stage = "translate"
model = "{model}"
corpus = "@english"
units = 4
engine.name = "{STAND_IN_ENGINE}"
max_rejected_fraction = 0.5
[again]
like = "arabic"
corpus = "@arabic/rejected"
prompt = "Once more:\\n\\n{{text}}"
max_rejected_fraction = 1
"""
    arguments = ("stage=all", recipe(tmp_path, text), f"work={work}", *overrides)
    return launch(*arguments, PYTHONPATH=str(STANDIN))


def summary(work: Path, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "latest" / node / "summary.json").read_text())
    return found


@pytest.mark.slow
def test_rejected_rows_are_a_corpus_that_another_node_takes(tmp_path: Path, work: Path) -> None:
    ended = run(tmp_path, work)
    assert ended.code == 0, ended
    first, again = summary(work, "arabic"), summary(work, "again")
    assert (first["rows_in"], first["rows_out"], first["rejected"]) == (60, 45, {"empty": 15})
    assert first["details"]["asked_again"]["empty"] > 0
    assert (again["rows_in"], again["rejected"]) == (15, {"empty": 15})
    rejected = list(read_rows(work / "latest/arabic/output/rejected"))
    assert {row["reason"] for row in rejected} == {"empty"}
    assert all(NOTHING in row["messages"][0]["content"] for row in rejected)


@pytest.mark.slow
def test_too_many_rejected_rows_stop_the_node_with_a_reason(tmp_path: Path, work: Path) -> None:
    ended = run(tmp_path, work, "arabic.max_rejected_fraction=0.1")
    assert ended.code == 65
    assert "max_rejected_fraction=0.1: 15 of 60 rows are rejected (empty 15)" in ended.err
    assert "Traceback" not in ended.err
    # What is done stays done: the limit is no part of the result.
    more = run(tmp_path, work, "arabic.max_rejected_fraction=0.3")
    assert more.code == 0, more
    assert summary(work, "arabic")["rounds"] == 1


#: A lab's own translator: the file stands beside the recipe.
OWN_STAGE = """
from hala_hpc.stages.translate import Translate


class Own(Translate):
    name = "own-translate"


STAGE = Own
"""


@pytest.mark.slow
def test_rejected_rows_are_taken_from_another_folder_than_that_of_the_launch(
    tmp_path: Path, work: Path
) -> None:
    lab, elsewhere = tmp_path / "lab", tmp_path / "elsewhere"
    lab.mkdir(0o755)
    elsewhere.mkdir()
    texts = [f"Who is {subject} in house 1?" for subject in (NOTHING, "quiet")]
    rows = [json.dumps({"instruction": text, "output": "The old man."}) for text in texts]
    (lab / "rows.jsonl").write_text("\n".join(rows) + "\n")
    (lab / "own.py").write_text(OWN_STAGE)
    (lab / "own.py").chmod(0o644)
    empty_model(lab / "model")
    recipe(
        lab,
        f"""
[english]
stage = "prepare"
data = "{lab}/rows.jsonl"
units = 1
[arabic]
stage = "own.py"
model = "{lab}/model"
corpus = "@english"
units = 1
engine.name = "{STAND_IN_ENGINE}"
max_rejected_fraction = 1
""",
    )
    first = ("stage=all", "recipe=recipe.toml", "work=../work")
    ended = launch(*first, cwd=lab, PYTHONPATH=str(STANDIN))
    assert ended.code == 0, ended
    arguments = ("work=../work", "node=arabic", "rejected=true")
    retried = run_command(*arguments, module="retry", cwd=elsewhere)
    assert retried.code == 0, retried
    command = next(text for text in retried.out.splitlines() if "hala_hpc.launch" in text)
    again = launch(*shlex.split(command)[3:], cwd=elsewhere, PYTHONPATH=str(STANDIN))
    assert again.code == 0, again
    assert summary(work, "arabic-again")["rows_in"] == 1
    assert summary(work, "arabic")["rounds"] == 1, "what is done stays done"


def test_a_part_that_a_node_does_not_have_is_named(tmp_path: Path, work: Path) -> None:
    ended = run(tmp_path, work, "again.corpus=@arabic/bad")
    assert ended.code == 78
    assert "arabic makes one corpus; write @arabic or @arabic/rejected" in ended.err
