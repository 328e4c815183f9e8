"""Paths that are too long, closed, missing, or with control characters: one error, no more."""

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


def assert_reported(ended: CommandResult, code: int, *texts: str) -> None:
    """One error, in one line without control characters, with these texts."""
    assert ended.code == code, ended
    assert ended.err.count("error: ") == ended.err.count("\n") == 1, ended
    assert "\x1b" not in ended.out + ended.err
    for text in texts:
        assert text in ended.err, ended


@pytest.mark.parametrize("key", ["work", "recipe", "launcher", "corpus.data"])
@pytest.mark.parametrize(
    ("text", "code", "fix"),
    [
        (f"/tmp/{LONG}.toml", 64, "name it by a shorter path"),
        ("~no-such-user-here/x.toml", 66, "there is no such user here"),
    ],
)
def test_a_path_that_no_file_can_have_is_named_with_its_argument(
    tmp_path: Path, key: str, text: str, code: int, fix: str
) -> None:
    arguments = {
        "recipe": one_row_recipe(tmp_path).removeprefix("recipe="),
        "work": f"{tmp_path}/work",
    }
    overrides = [f"{name}={value}" for name, value in {**arguments, key: text}.items()]
    assert_reported(launch("stage=all", *overrides), code, key, fix)


@pytest.mark.parametrize("module", ["status", "logs", "retry", "cancel", "verify", "doctor"])
def test_every_command_names_a_work_folder_that_is_none(module: str) -> None:
    assert_reported(run_command(f"work=/tmp/{LONG}", module=module), 64, "work: ", "shorter path")
    assert_reported(run_command(f"work=runs/{RED}", module=module), 64, r"work='runs/\x1b[31m'")


@pytest.mark.parametrize("key", ["work", "recipe", "launcher", "stage"])
def test_control_characters_in_names_are_refused(tmp_path: Path, key: str) -> None:
    arguments = {"stage": "all", "recipe": one_row_recipe(tmp_path).removeprefix("recipe=")}
    arguments |= {"work": f"{tmp_path}/work", "launcher": "local"}
    overrides = [
        f"{name}={value}" for name, value in {**arguments, key: f"{arguments[key]}{RED}"}.items()
    ]
    assert_reported(launch(*overrides), 64, f"{key}=", r"\x1b[31m", "control characters")


def test_control_characters_in_a_missing_data_path_are_shown_as_escapes(
    tmp_path: Path, work: Path
) -> None:
    data = f"corpus.data={tmp_path}/{RED}.jsonl"
    assert_reported(
        launch("stage=all", one_row_recipe(tmp_path), data, f"work={work}"), 66, r"\x1b[31m.jsonl"
    )


def test_a_folder_that_may_not_be_entered_is_named_with_a_fix(tmp_path: Path) -> None:
    one_row_recipe(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    arguments = {"recipe": f"{tmp_path}/recipe.toml", "work": f"{tmp_path}/work"}
    for key in ("recipe", "work", "corpus.data"):
        overrides = [
            f"{name}={value}" for name, value in {**arguments, key: f"{closed}/in.toml"}.items()
        ]
        ended = command_without_root_rights("stage=all", *overrides)
        assert_reported(ended, 66, f"{key}: ", f"`chmod u+rwx {closed}`")
    ended = command_without_root_rights(f"work={closed}/in", module="status")
    assert_reported(ended, 66, "work: ", f"`chmod u+rwx {closed}`")
