"""Task data before a run: dry run, doctor and launch name what is missing."""

from pathlib import Path

import pytest
from command_line import CommandResult, command_without_root_rights, recipe, run_command
from quiz_tasks import CONFIGURATIONS, GROUP, write_prepared, write_quiz

from benchmarks.kills.node import empty_model

SCORES = """[scores]
stage = "evaluate"
models = {{ m = "{model}" }}
tasks = ["{task}"]
{include}
"""


@pytest.fixture
def evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Evaluation":
    # Engines in this process have set them for themselves.
    for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE", "NLTK_DATA"):
        monkeypatch.delenv(name, raising=False)
    tasks = write_quiz(tmp_path / "tasks")
    model = empty_model(tmp_path / "model")
    return Evaluation(tmp_path, f'include_path = "{tasks}"', str(model))


class Evaluation:
    """What each command prints about a recipe of one evaluation."""

    def __init__(self, folder: Path, include: str, model: str) -> None:
        self.folder, self.include, self.model = folder, include, model
        self.home = folder / "home"
        self.home.mkdir()
        launcher = f'backend = "local"\n[environment]\nHF_HOME = "{self.home}"\n'
        (folder / "site.toml").write_text(launcher)

    def arguments(self, task: str = GROUP) -> list[str]:
        """The line about the evaluation of a task."""
        text = SCORES.format(task=task, include=self.include, model=self.model)
        named = [f"launcher={self.folder}/site.toml", f"work={self.folder}/work"]
        return [recipe(self.folder, text), "stage=all", *named]

    def by(self, module: str, *more: str, task: str = GROUP) -> CommandResult:
        cache = str(self.folder / "kept")
        return run_command(*self.arguments(task), *more, module=module, XDG_CACHE_HOME=cache)


@pytest.mark.slow
def test_a_missing_configuration_is_named_by_dry_run_doctor_and_launch(
    evaluation: Evaluation,
) -> None:
    write_prepared(evaluation.home / "datasets", "easy")
    missing = (
        f"1 of 2 configurations are not in {evaluation.home / 'datasets' / 'lab___quiz'}: hard"
    )
    dry = evaluation.by("launch", "dry_run=true")
    assert dry.code == 0
    assert missing in dry.out
    assert "hala_hpc.fetch" in dry.out
    doctor = evaluation.by("doctor")
    assert doctor.code == 78
    assert f"ERROR task data lab/quiz: {missing}" in doctor.out
    refused = evaluation.by("launch")
    assert refused.code == 66
    assert missing in refused.err
    assert not (evaluation.folder / "work").exists()
    folder = write_prepared(evaluation.home / "datasets", "hard")
    assert "to fetch first" not in evaluation.by("launch", "dry_run=true").out
    damaged = folder / "quiz-test.arrow"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert f"{damaged} is damaged" in evaluation.by("launch", "dry_run=true").out


@pytest.mark.slow
def test_a_cache_that_is_not_writable_is_named(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = evaluation.home / "datasets"
    for name in CONFIGURATIONS:
        write_prepared(cache, name)
    cache.chmod(0o555)
    monkeypatch.setenv("XDG_CACHE_HOME", str(evaluation.folder / "kept"))
    dry = command_without_root_rights(*evaluation.arguments(), "dry_run=true")
    assert dry.code == 0, dry
    assert f"{cache} is not writable: datasets writes lock files there even to read" in dry.out


@pytest.mark.slow
@pytest.mark.long
def test_a_misspelled_task_is_refused_by_dry_run_doctor_and_launch(evaluation: Evaluation) -> None:
    evaluation.include = ""
    for module, more, code in (
        ("launch", ("dry_run=true",), 78),
        ("doctor", (), 78),
        ("launch", (), 78),
    ):
        ended = evaluation.by(module, *more, task="arabicmlu")
        assert ended.code == code
        assert "did you mean 'arabicmmlu'?" in ended.out + ended.err
    assert not (evaluation.folder / "work").exists()
