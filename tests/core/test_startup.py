"""Importing the package changes nothing for the process; a command sets itself up."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import launch, recipe

from hala_hpc.commands.planning.plan import find_results
from hala_hpc.core.fingerprint import LENGTH, compute_fingerprint, is_fingerprint

STATE = (
    "import gc, json, os, sys; print(json.dumps([gc.get_threshold()[0] == {threshold}, "
    "'PYDANTIC_DISABLE_PLUGINS' in os.environ, "
    # Pydantic's own loader has a file, the one that stands in its place has none.
    "not hasattr(sys.modules.get('pydantic.plugin._loader', os), '__file__')]))"
)


def printed(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={}
    )
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["hala_hpc", "hala_hpc.data.corpus.reader"])
def test_an_import_changes_nothing_for_the_process(name: str) -> None:
    before = "import gc; threshold = gc.get_threshold()[0]; "
    after = STATE.format(threshold="threshold")
    assert printed(f"{before}import {name}; {after}") == "[true, false, false]"


def test_importing_a_door_changes_nothing_either() -> None:
    code = "import gc; threshold = gc.get_threshold()[0]; import hala_hpc.launch; "
    assert printed(code + STATE.format(threshold="threshold")) == "[true, false, false]"


def test_a_command_sets_itself_up_before_pydantic_is_imported() -> None:
    code = (
        "import runpy, sys; sys.argv = ['launch', '--help']\n"
        "try: runpy.run_module('hala_hpc.launch', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print()\n"
    )
    state = printed(code + STATE.format(threshold=200_000)).splitlines()[-1]
    assert state == "[true, true, true]"


def test_a_fingerprint_is_known_by_its_form() -> None:
    fingerprint = compute_fingerprint({"a": 1})
    assert len(fingerprint) == LENGTH
    assert is_fingerprint(fingerprint)
    assert not is_fingerprint(fingerprint[1:])
    assert not is_fingerprint(fingerprint[1:] + "x")


def test_results_are_found_by_the_form_of_their_fingerprint(tmp_path: Path) -> None:
    for name in (f"arabic-{compute_fingerprint(1)}", "arabic-old", "latest"):
        (tmp_path / name).mkdir()
    assert {name: len(found) for name, found in find_results(tmp_path).items()} == {"arabic": 1}


def test_a_run_resumes_from_another_folder(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run.json` names files so that its launch command works in any folder."""
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    recipe(tmp_path, f'[corpus]\nstage="prepare"\ndata="{tmp_path}/rows.jsonl"\nunits=1\n')
    (tmp_path / "mine.toml").write_text('backend = "local"\n')
    arguments = ["recipe=recipe.toml", "launcher=./mine.toml", f"work={work}"]
    assert launch("stage=all", *arguments, cwd=tmp_path).code == 0
    from hala_hpc.core.run import read_run

    monkeypatch.chdir("/")
    run = read_run(work)
    assert Path(run.recipe) == tmp_path / "recipe.toml"
    assert f"recipe={tmp_path}/recipe.toml launcher={tmp_path}/mine.toml" in run.launch_command
    ended = launch(*run.launch_command.split()[3:], cwd=Path("/"))
    assert (ended.code, "nothing to submit" in ended.out) == (0, True), ended
