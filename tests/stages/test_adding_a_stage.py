"""The page about adding a stage: its file and its package run; changed code is detected."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandResult, launch, run_command
from documented_code import documented_code

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.errors import CONFIG, OK, USAGE
from hala_hpc.core.records import NodeSummary
from hala_hpc.core.run import RunNode, read_run
from hala_hpc.core.stage_registry import look_up_stage
from hala_hpc.data.corpus.reader import count_rows
from hala_hpc.engines.evaluation.report import models_table

BLOCKS = documented_code("adding-a-stage.md")
STAGE, RECIPE, TEST = "stages/keep_short.py", "short.toml", "test_keep_short.py"
ANSWERS = ("Hello.", "Good morning to you and to all your friends!", "Hi.", "Good evening.")


@pytest.fixture(autouse=True)
def others_write_nothing() -> Iterator[None]:
    """Only the user can write what the tests make, whatever the umask is."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def write(folder: Path, *names: str) -> Path:
    """Write files of the page into a folder of a lab."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(BLOCKS[name], encoding="utf-8")
    texts = [json.dumps({"instruction": "Greet me.", "output": answer}) for answer in ANSWERS]
    (folder / "rows.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write(tmp_path / "lab", STAGE, RECIPE, TEST)


def run(lab: Path, work: Path, *overrides: str, **env: str) -> CommandResult:
    """Run the launch command of the page in the folder of the recipe."""
    return launch("stage=all", f"recipe={RECIPE}", f"work={work}", *overrides, cwd=lab, **env)


def short_of(work: Path) -> RunNode:
    return read_run(work).find_node("short")


def change(path: Path) -> None:
    """Change the bytes of a file but not what it does."""
    path.write_text(path.read_text(encoding="utf-8") + "\n# another day\n", encoding="utf-8")


def test_the_page_names_every_file_that_it_needs() -> None:
    assert set(BLOCKS) == {STAGE, RECIPE, TEST, "pyproject.toml"}


@pytest.mark.slow
def test_the_test_of_the_page_passes(lab: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TEST],
        cwd=lab,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_help_lists_the_settings_of_a_file_by_node_by_stage_and_by_path(lab: Path) -> None:
    for name in ("short", "keep_short", STAGE):
        result = launch(f"stage={name}", f"recipe={RECIPE}", "--help", cwd=lab)
        assert result.code == OK, result
        assert "keep the rows of a corpus whose texts are short enough" in result.out
        assert (
            "max_characters: int = 2000\n      Max characters of all texts of a row" in result.out
        )
    assert launch(f"stage={STAGE}", "--help", cwd=lab).code == OK


def test_overrides_set_the_settings_of_a_file_and_mistakes_are_refused_at_once(
    lab: Path, work: Path
) -> None:
    (lab / "here.toml").write_text(
        'backend = "local"\n[stage.keep_short.resources]\nmem_gb = 3\n', encoding="utf-8"
    )
    good = ("keep_short.units=3", "short.resources.workers=2", "launcher=here.toml")
    result = run(lab, work, *good, "dry_run=true")
    assert result.code == OK, result
    [row] = [line.split() for line in result.out.splitlines() if line.startswith("short ")]
    assert row[1:3] == ["keep_short", "new"], row
    assert "3" in row
    assert not work.exists()
    wrong = run(lab, work, "short.max_character=3")
    assert wrong.code == USAGE
    assert "unknown setting 'max_character': did you mean 'max_characters'?" in wrong.err
    none = run(lab, work, "keep_short.max_characters=0")
    assert none.code == USAGE
    assert "short.max_characters='0'" in none.err


@pytest.mark.slow
def test_an_artifact_finds_its_file_from_any_folder_until_the_file_is_changed(
    lab: Path, work: Path, tmp_path: Path
) -> None:
    assert run(lab, work).code == OK
    artifact = short_of(work).artifact
    config, summary = artifact.require_config(), artifact.summary()
    assert summary is not None
    assert config.stage == summary.stage == "keep_short"
    assert config.stage_source is not None
    assert config.stage_source.file == str((lab / STAGE).resolve())
    assert summary.stage_source == config.stage_source
    assert "keep_short" in run_command(f"work={work}", module="status", cwd=tmp_path).out

    # The same jobs again, started by hand in another folder: a worker and the gate.
    artifact.summary_file.unlink()
    artifact.marker_file(0).unlink()
    job_folder = str(artifact.folder)
    assert run_command(job_folder, "0", module="worker", cwd=tmp_path).code == OK
    assert run_command(job_folder, module="gate", cwd=tmp_path).code == OK
    assert artifact.summary() is not None

    artifact.summary_file.unlink()
    artifact.marker_file(0).unlink()
    change(lab / STAGE)
    assert run_command(job_folder, "0", module="worker", cwd=tmp_path).code == CONFIG
    assert run_command(job_folder, module="gate", cwd=tmp_path).code == CONFIG
    failure = artifact.failure()
    assert failure is not None
    assert failure.code == CONFIG
    [reason] = failure.reasons
    assert "has changed since the launch" in reason.text
    assert "launch again" in reason.text
    assert artifact.last_round() == 1


@pytest.mark.slow
def test_a_changed_file_reruns_its_node_but_not_those_that_do_not_depend_on_it(
    lab: Path, work: Path
) -> None:
    assert run(lab, work).code == OK
    first = short_of(work).artifact
    assert "already done" in run(lab, work).out or "nothing to submit" in run(lab, work).out
    change(lab / STAGE)
    result = run(lab, work, "dry_run=true")
    assert "code of stage keep_short changed" in result.out
    assert run(lab, work).code == OK
    second = short_of(work).artifact
    assert second.folder != first.folder
    assert count_rows(second.output) == count_rows(first.output) == 3
    assert first.summary() is not None
    assert len(list(work.glob("corpus-*"))) == 1


def test_a_file_that_others_can_write_is_refused_before_anything_is_made(
    lab: Path, work: Path
) -> None:
    (lab / STAGE).chmod(0o664)
    refused = run(lab, work)
    assert refused.code == USAGE
    assert f"chmod go-w {lab / STAGE}" in refused.err
    assert len(refused.err.splitlines()) == 1, refused
    assert not work.exists()
    (lab / STAGE).chmod(0o644)
    assert run(lab, work, "dry_run=true").code == OK


@pytest.mark.slow
def test_rejected_rows_of_a_file_run_again_from_a_recipe_in_another_folder(
    lab: Path, work: Path, tmp_path: Path
) -> None:
    text = BLOCKS[STAGE].replace(
        '    produces = "corpus"\n', '    produces = "corpus"\n    extra_outputs = ("rejected",)\n'
    )
    more = '    max_rejected_fraction: float = 1.0\n    """As in the stages of hala_hpc."""\n'
    text = text.replace("    units: PositiveInt", f"{more}    units: PositiveInt")
    (lab / STAGE).write_text(text, encoding="utf-8")
    assert run(lab, work).code == OK
    overrides = (f"work={work}", "node=short", "rejected=true")
    retried = run_command(*overrides, module="retry", cwd=tmp_path)
    assert retried.code == OK, retried
    recipe = work / "recipes" / "short-again.toml"
    assert f'stage = "{lab / STAGE}"' in recipe.read_text(encoding="utf-8")
    result = launch("stage=short", f"recipe={recipe}", f"work={work}", "dry_run=true", cwd=lab)
    assert result.code == OK, result
    [row] = [line.split() for line in result.out.splitlines() if line.startswith("short ")]
    assert row[1:3] == ["keep_short", "done"], "another folder of the recipe changes nothing"


def test_a_report_has_the_summary_line_of_such_a_stage_or_that_its_code_has_changed(
    tmp_path: Path,
) -> None:
    code = """
class Counted(KeepShort):
    @classmethod
    def summary_line(cls, details):
        return f"{details['rows']} rows"

STAGE = Counted
"""
    file = tmp_path / "counted.py"
    file.write_text(BLOCKS[STAGE] + code, encoding="utf-8")
    source = look_up_stage(file.name, tmp_path).source
    summary = NodeSummary(
        node="short", stage="keep_short", stage_source=source, units=1, details={"rows": 3}
    )
    assert models_table([summary]).rows == [["short", "3 rows"]]
    change(file)
    [[_, text]] = models_table([summary]).rows
    assert "the code of stage 'keep_short' has changed since the launch" in text


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder into which the package of the page was built and installed, as pip does it."""
    source, site = tmp_path / "source", tmp_path / "site"
    package = write(source, "pyproject.toml") / "my_lab"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "keep_short.py").write_text(BLOCKS[STAGE], encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=WAIT_S,
    )
    [wheel] = (source / "dist").glob("my_lab-1-*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.mark.slow
def test_an_installed_package_offers_the_stage_until_its_code_is_changed(
    lab: Path, work: Path, installed: Path
) -> None:
    recipe = lab / RECIPE
    recipe.write_text(recipe.read_text().replace(STAGE, "keep_short"), encoding="utf-8")
    site = str(installed)
    unknown = run(lab, work)
    assert unknown.code == USAGE
    assert "node 'short': unknown stage 'keep_short'" in unknown.err
    assert "keep_short" in launch("--help", PYTHONPATH=site).out
    assert "max_characters" in launch("stage=keep_short", "--help", PYTHONPATH=site).out

    ended = run(lab, work, PYTHONPATH=site)
    assert ended.code == OK, ended
    first = short_of(work).artifact
    source = first.require_config().stage_source
    assert source is not None
    assert source.entry_point == "my_lab.keep_short:STAGE"
    assert count_rows(first.output) == 3

    # Any file of the package counts.
    change(installed / "my_lab" / "__init__.py")
    assert "code of stage keep_short changed" in run(lab, work, "dry_run=true", PYTHONPATH=site).out
    assert run(lab, work, PYTHONPATH=site).code == OK
    assert short_of(work).artifact.folder != first.folder
    (installed / "my_lab").chmod(0o775)
    refused = run(lab, work, PYTHONPATH=site)
    assert refused.code == USAGE
    assert f"chmod go-w {installed / 'my_lab'}" in refused.err
