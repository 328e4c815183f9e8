"""Paths that are too long, closed, of nobody, or hold what a terminal obeys: one error, no more."""

from pathlib import Path

import pytest
from command_line import (
    CommandResult,
    command_without_root_rights,
    launch,
    one_row_recipe,
    run_command,
)

LONG = "x" * 300
#: Turns the rest of a screen red.
RED = "\x1b[31m"


def told(ended: CommandResult, code: int, *words: str) -> None:
    """One error, in one line that a terminal does not obey, with these words."""
    assert ended.code == code, ended
    assert ended.err.count("error: ") == ended.err.count("\n") == 1, ended
    assert "\x1b" not in ended.out + ended.err
    for word in words:
        assert word in ended.err, ended


@pytest.mark.parametrize("word", ["work", "recipe", "launcher", "corpus.data"])
@pytest.mark.parametrize(
    ("text", "code", "cure"),
    [
        (f"/tmp/{LONG}.toml", 64, "name it by a shorter path"),
        ("~no-such-user-here/x.toml", 66, "there is no such user here"),
    ],
)
def test_a_path_that_no_file_can_have_is_named_with_its_word(
    tmp_path: Path, word: str, text: str, code: int, cure: str
) -> None:
    words = {"recipe": one_row_recipe(tmp_path).removeprefix("recipe="), "work": f"{tmp_path}/work"}
    line = [f"{key}={value}" for key, value in {**words, word: text}.items()]
    told(launch("stage=all", *line), code, word, cure)


@pytest.mark.parametrize("module", ["status", "logs", "retry", "cancel", "verify", "doctor"])
def test_every_command_names_a_work_folder_that_is_none(module: str) -> None:
    told(run_command(f"work=/tmp/{LONG}", module=module), 64, "work: ", "shorter path")
    told(run_command(f"work=runs/{RED}", module=module), 64, r"work='runs/\x1b[31m'")


@pytest.mark.parametrize("word", ["work", "recipe", "launcher", "stage"])
def test_control_characters_in_names_are_refused(tmp_path: Path, word: str) -> None:
    words = {"stage": "all", "recipe": one_row_recipe(tmp_path).removeprefix("recipe=")}
    words |= {"work": f"{tmp_path}/work", "launcher": "local"}
    line = [f"{key}={value}" for key, value in {**words, word: f"{words[word]}{RED}"}.items()]
    told(launch(*line), 64, f"{word}=", r"\x1b[31m", "control characters")


def test_control_characters_in_a_missing_data_path_are_shown_as_escapes(
    tmp_path: Path, work: Path
) -> None:
    data = f"corpus.data={tmp_path}/{RED}.jsonl"
    told(launch("stage=all", one_row_recipe(tmp_path), data, f"work={work}"), 66, r"\x1b[31m.jsonl")


def test_a_folder_that_may_not_be_entered_is_named_with_a_cure(tmp_path: Path) -> None:
    one_row_recipe(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    words = {"recipe": f"{tmp_path}/recipe.toml", "work": f"{tmp_path}/work"}
    for word in ("recipe", "work", "corpus.data"):
        line = [f"{key}={value}" for key, value in {**words, word: f"{closed}/in.toml"}.items()]
        ended = command_without_root_rights("stage=all", *line)
        told(ended, 66, f"{word}: ", f"`chmod u+rwx {closed}`")
    ended = command_without_root_rights(f"work={closed}/in", module="status")
    told(ended, 66, "work: ", f"`chmod u+rwx {closed}`")
