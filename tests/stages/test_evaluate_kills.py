"""evaluate: workers that are killed lose what they had not written, and nothing else."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from benchmark_tasks import question_rows, write_group, write_question_task
from tiny_models import untrained_model

from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.environment import JOB_ENVIRONMENT
from hala_hpc.core.files import read_json
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.jobs.spec import make_spec

KILLS = 10
WORKERS = 2
ITEMS = {"one": 60, "two": 30, "three": 50}
#: Seconds of one attempt at most, on a busy machine.
END_LIMIT_S = 1800
RECIPE = """
[evaluate]
include_path = "{tasks}"
tasks = ["pooled", "even"]
shards = 2
batch_size = 4
commit_interval_s = 0.05
engine.dtype = "float32"
[evaluate.models]
{models}
[evaluate.resources]
workers = {workers}
"""


class EvaluateNode:
    """An evaluate node of three models and two groups in a work folder of its own."""

    def __init__(self, base: Path, models: dict[str, Path], tasks: Path) -> None:
        base.mkdir()
        lines = "\n".join(f'{label} = "{path}"' for label, path in models.items())
        recipe = base / "recipe.toml"
        recipe.write_text(RECIPE.format(tasks=tasks, models=lines, workers=WORKERS))
        given = [f"recipe={recipe}", "stage=all", "launcher=local", f"work={base / 'work'}"]
        line = parse_command_line(given)
        step = make_plan(line.nodes, line.work, line.environment)["evaluate"]
        self.base, self.units = base, step.units
        self.artifact = Artifact(line.work / f"evaluate-{step.fingerprint}")
        self.artifact.write_config(step.config())
        spec = make_spec(line.launcher, step.node.settings, "main", LaunchedCode())
        begin_round(self.artifact, step.units, WORKERS, spec)

    def start(self, module: str, *arguments: object) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, **JOB_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
        environment["HF_DATASETS_CACHE"] = str(self.base / "datasets")
        return subprocess.Popen(
            [sys.executable, "-m", f"hala_hpc.{module}", *map(str, arguments)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run_to_end(self) -> dict[str, Any]:
        """Run both workers and the gate undisturbed; return `scores.json`."""
        for worker in range(WORKERS):
            assert self.start("worker", self.artifact.folder, worker).wait(END_LIMIT_S) == 0
        return self.close()

    def close(self) -> dict[str, Any]:
        assert self.start("gate", self.artifact.folder).wait(END_LIMIT_S) == 0
        found: dict[str, Any] = read_json(self.artifact.output / "scores.json")
        return found

    def journals(self) -> list[Path]:
        return sorted(self.artifact.state_root.glob("*/answers-*.jsonl"))

    def run_and_kill(self, worker: int, files: int) -> bool:
        """Kill a worker once it has written so many journal files; False if it ends before."""
        before = len(self.journals())
        process = self.start("worker", self.artifact.folder, worker)
        while len(self.journals()) < before + files:
            if process.poll() is not None:
                assert process.returncode == 0
                return False
            time.sleep(0.02)
        for pid in (process.pid, *children_of(process.pid)):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        return True


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def read_keys(paths: list[Path]) -> Counter[tuple[str, str]]:
    """Units and keys of the answers on the disk."""
    found: Counter[tuple[str, str]] = Counter()
    for path in paths:
        *lines, _footer = path.read_text().splitlines()
        found.update((path.parent.name, json.loads(line)[0]) for line in lines)
    return found


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_kills_lose_no_item_repeat_no_finished_one_and_change_no_score(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = untrained_model(tmp_path_factory.getbasetemp())
    models = {label: tmp_path / label for label in ("a", "b", "c")}
    for seed, path in enumerate(models.values()):
        shutil.copytree(base, path)
        shake_weights(path / "model.safetensors", seed)
    tasks = tmp_path / "tasks"
    for place, (name, count) in enumerate(ITEMS.items()):
        write_question_task(tasks, name, question_rows(count, 1000 * place))
    write_group(tasks, "pooled", ["one", "two"], weighted=True)
    write_group(tasks, "even", ["three"], weighted=False)

    calm = EvaluateNode(tmp_path / "calm", models, tasks).run_to_end()

    node = EvaluateNode(tmp_path / "killed", models, tasks)
    draw, kills, finished = random.Random(27), 0, dict[Path, int]()
    open_workers = list(range(WORKERS))
    while open_workers:
        worker = draw.choice(open_workers)
        files = draw.randint(1, 8) if kills < KILLS else 10**9
        if node.run_and_kill(worker, files):
            kills += 1
        else:
            open_workers.remove(worker)
        for path, changed_ns in finished.items():
            assert path.stat().st_mtime_ns == changed_ns, "a finished unit was made again"
        finished = {
            path: path.stat().st_mtime_ns for path in (node.artifact.folder / "done").glob("*.json")
        }
    assert kills == KILLS
    assert set(read_keys(node.journals()).values()) == {1}, "no answer on the disk was made again"
    assert node.close() == calm

    import pandas

    items = pandas.concat(map(pandas.read_parquet, node.artifact.output.glob("items-*.parquet")))
    assert len(items) == 3 * sum(ITEMS.values())
    assert not items.duplicated(["model", "task", "item"]).any()


def shake_weights(path: Path, seed: int) -> None:
    """Change the weights of a model a little, so that it has other answers."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(seed)
    weights = {name: one + 0.02 * torch.randn_like(one) for name, one in load_file(path).items()}
    save_file(weights, path, {"format": "pt"})
