"""fetch prepares benchmarks' data with a stand-in of the hub; jobs then read it with no network."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import CommandResult, recipe, run_command
from hub_stand_in import HubStandIn
from quiz_tasks import DATA_SET, GROUP, quiz_files, write_quiz
from tiny_models import untrained_model

from benchmarks.common.waiting import WAIT_S
from benchmarks.kills.node import empty_model
from hala_hpc.commands.fetching.offline_check import find_no_network_prefix

SCORES = """[scores]
stage = "evaluate"
models = {{ m = "{model}" }}
tasks = ["{task}"]
include_path = "{tasks}"
engine.dtype = "float32"
"""


#: A new network has its loopback down, which ranks use: bring it up (SIOCSIFFLAGS), and continue.
WITH_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    with HubStandIn() as hub:
        for name, value in hub.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        for name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_MODULES_CACHE", "NLTK_DATA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
        yield hub


class Evaluation:
    """The arguments of a run of one evaluation."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        text = SCORES.format(task=GROUP, tasks=write_quiz(folder / "tasks"), model=model)
        self.arguments = (
            recipe(folder, text),
            "stage=all",
            f"work={folder}/work",
            "launcher=local",
        )

    def fetch(self, *more: str) -> CommandResult:
        return run_command(*self.arguments, *more, module="fetch")

    def prepared(self, name: str) -> Path:
        """The one folder of a configuration in the datasets cache."""
        place = self.folder / "home" / "datasets" / "lab___quiz" / name / "0.0.0"
        (found,) = (folder for folder in place.iterdir() if folder.is_dir())
        return found


@pytest.mark.slow
def test_what_was_fetched_is_recorded_verified_and_repaired(
    tmp_path: Path, hub: HubStandIn
) -> None:
    commit = hub.put("datasets", DATA_SET, quiz_files())
    evaluation = Evaluation(tmp_path, empty_model(tmp_path / "model"))
    fetched = evaluation.fetch()
    assert fetched.code == 0, fetched
    folder = evaluation.prepared("hard")
    receipt = json.loads((folder / "hala_fetched.json").read_text())
    assert folder.name == receipt["commit"] == commit
    path = folder / "quiz-test.arrow"
    whole = path.read_bytes()

    # The same size, another letter: names and sizes are equal.
    path.write_bytes(whole.replace(b"5?", b"4?"))
    checked = evaluation.fetch("check=true")
    assert checked.code == 66
    assert f"{path} is damaged" in checked.err

    path.write_bytes(whole[:-8])
    mended = evaluation.fetch()
    assert mended.code == 0, mended
    assert "configuration hard" in mended.out
    assert path.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.long
def test_what_the_hub_does_not_have_is_named(tmp_path: Path, hub: HubStandIn) -> None:
    files = quiz_files()
    del files["hard.jsonl"]
    files["README.md"] = files["README.md"].split(b"- config_name: hard")[0] + b"---\n"
    hub.put("datasets", DATA_SET, files)
    evaluation = Evaluation(tmp_path, empty_model(tmp_path / "model"))
    refused = evaluation.fetch()
    assert refused.code == 66
    assert "task data lab/quiz, configuration hard" in refused.err
    hub.is_down = True
    refused = evaluation.fetch()
    assert refused.code in (66, 69)
    assert "task data lab/quiz, configuration hard" in refused.err


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_fetched_evaluation_runs_in_a_process_without_a_network(
    tmp_path: Path, hub: HubStandIn, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cut = find_no_network_prefix()
    if not cut:
        pytest.skip("this user may not cut a network off here (unshare -n)")
    commit = hub.put("datasets", DATA_SET, quiz_files())
    evaluation = Evaluation(tmp_path, untrained_model(tmp_path_factory.getbasetemp()))
    assert evaluation.fetch().code == 0
    done = subprocess.run(
        [*cut, sys.executable, "-c", WITH_LOOPBACK, "-m", "hala_hpc.launch", *evaluation.arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * WAIT_S,
    )
    assert done.returncode == 0, done
    (scores,) = (tmp_path / "work").glob("scores-*/output/scores.json")
    found = json.loads(scores.read_text())
    assert found["samples"]["m"] == {f"{GROUP}_easy": 6, f"{GROUP}_hard": 6}
    assert json.loads((scores.parent / "scores-00000.json").read_text())["data"] == {
        DATA_SET: commit
    }
