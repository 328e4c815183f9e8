"""A training that is stopped, killed or hung at any moment resumes with the same result."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from corpora import pair, write_corpus
from random_models import random_lfm2
from real_ranks import Ranks, losses_of, weights_of
from tiny_models import SENTENCES
from token_folders import make_tokens
from training_steps import steps

from benchmarks.common.waiting import wait_until
from benchmarks.stops.campaign import StopPlan, calm_weights, stop_all, summary
from benchmarks.stops.kinds import STOPS, is_saving
from benchmarks.stops.node import Shape, StopNode, StopRun
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import BAD_DATA, RETRY, FailureClass, RankHung, UserError
from hala_hpc.core.records import UnitMarker
from hala_hpc.engines.training.callbacks import EXIT_MARGIN_S, require_engine
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.training_run import Training
from hala_hpc.engines.training.watchdog import SlowRanks, StepWatchdog, find_slow_ranks

#: Sixteen steps on 96 pairs in a few seconds, each of them a point of the curve.
QUICK: dict[str, Any] = {
    "max_steps": 16,
    "global_batch_size": 16,
    "micro_batch_tokens": 256,
    "learning_rate": 0.003,
    "save_steps": 4,
    "save_every_min": 0,
    "logging_steps": 1,
    "resources": {"nodes": 2},
}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings with a random model and token files."""
    folder = tmp_path_factory.mktemp("stops")
    model = str(random_lfm2(folder / "model"))
    rows = [pair(f"{text} {n}", target) for n in range(12) for text, target in SENTENCES.items()]
    write_corpus(folder / "pairs", rows)
    tokens = make_tokens(
        folder / "made", model=model, train=str(folder / "pairs"), objective="translate"
    )
    return QUICK | {"model": model, "tokens": str(tokens)}


def both_stages(folder: Path, options: dict[str, Any], **more: Any) -> dict[int, Ranks]:
    """Trainings on two ranks with ZeRO-2 and ZeRO-3, at the same time."""
    return {s: Ranks(folder / str(s), 2, **more, **options, zero_stage=s) for s in (2, 3)}


@pytest.fixture(scope="module")
def calm(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Undisturbed trainings on two ranks, by ZeRO stage."""
    made = both_stages(tmp_path_factory.mktemp("calm"), options)
    for ranks in made.values():
        assert ranks.end() == [0, 0], ranks.logs()[0]
    return {stage: ranks.base for stage, ranks in made.items()}


@pytest.fixture(scope="module")
def stopped(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same with a stop requested in the second epoch, at step 7; tests resume copies."""
    made = both_stages(tmp_path_factory.mktemp("stopped"), options, stop_at=7)
    for ranks in made.values():
        # Only rank 0 requests another attempt: an error of another rank would end it.
        assert ranks.end() == [RETRY, 0], ranks.logs()[0]
        assert "stop requested at step 7 of 16" in ranks.logs()[0]
        assert {p.name for p in ranks.state_dir.glob("ch*")} == {"checkpoint-4", "checkpoint-7"}
    return {stage: ranks.base for stage, ranks in made.items()}


def copy_of(base: Path, target: Path) -> Path:
    """Copy a training; the folder of its checkpoints."""
    shutil.copytree(base, target, dirs_exist_ok=True)
    return target / "kept" / "0"


def finish(base: Path, ranks: int, **options: Any) -> str:
    """Resume to the end; return the output of rank 0."""
    last = Ranks(base, ranks, **options)
    assert last.end() == [0] * ranks, last.logs()[0]
    return last.logs()[0]


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_the_curve_after_a_stop_is_the_same_to_the_last_bit(
    tmp_path: Path,
    options: dict[str, Any],
    calm: dict[int, Path],
    stopped: dict[int, Path],
    stage: int,
) -> None:
    state_dir = copy_of(stopped[stage], tmp_path)
    log = finish(tmp_path, 2, **options, zero_stage=stage)
    assert f"starting from {state_dir}/checkpoint-7" in log
    assert losses_of(tmp_path) == losses_of(calm[stage])
    assert weights_of(tmp_path) == weights_of(calm[stage])
    assert not list(state_dir.glob("ch*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "first", "then"),
    [
        (2, 2, 1),
        pytest.param(3, 1, 2, marks=pytest.mark.long),
        pytest.param(2, 1, 2, marks=pytest.mark.long),
        pytest.param(3, 2, 1, marks=pytest.mark.long),
    ],
)
def test_another_number_of_ranks_resumes_with_the_same_curve(
    tmp_path: Path, request: pytest.FixtureRequest, stage: int, first: int, then: int
) -> None:
    options = request.getfixturevalue("options") | {"zero_stage": stage}
    calm = request.getfixturevalue("calm")
    if first == 2:
        copy_of(request.getfixturevalue("stopped")[stage], tmp_path)
    else:
        assert Ranks(tmp_path, first, stop_at=7, **options).end() == [RETRY]
    log = finish(tmp_path, then, **options)
    assert f"checkpoint-7 was saved by {first} ranks and is converted for {then}" in log
    assert losses_of(tmp_path) == pytest.approx(losses_of(calm[stage]), rel=1e-5)


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    tmp_path: Path, options: dict[str, Any], calm: dict[int, Path], stopped: dict[int, Path]
) -> None:
    state_dir = copy_of(stopped[2], tmp_path)
    state = next(state_dir.glob("checkpoint-7/global_step7/*rank_1*optim_states.pt"))
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    log = finish(tmp_path, 2, **options)
    assert "checkpoint-7 is skipped: global_step7/" in log
    assert "is not what was saved (its digest differs)" in log
    assert f"starting from {state_dir}/checkpoint-4" in log
    assert weights_of(tmp_path) == weights_of(calm[2])


@pytest.mark.slow
def test_a_kill_after_the_last_step_trains_no_further_step(
    tmp_path: Path, options: dict[str, Any], calm: dict[int, Path]
) -> None:
    ranks = Ranks(tmp_path, 2, hold_at=options["max_steps"] + 1, **options)
    ranks.wait_until((ranks.state_dir / "checkpoint-16").exists, "the last checkpoint")
    ranks.kill()
    finish(tmp_path, 2, **options)
    assert weights_of(tmp_path) == weights_of(calm[2])


@pytest.mark.slow
def test_the_others_leave_when_a_rank_is_killed(tmp_path: Path, options: dict[str, Any]) -> None:
    ranks = Ranks(tmp_path, 2, hold_at=4, **options | {"save_steps": 0})
    ranks.wait_until(lambda: ranks.step() > 2, "a few steps")
    ranks.children[1].kill()
    assert ranks.end() == [RETRY, -signal.SIGKILL]
    assert "another rank is lost" in ranks.logs()[0]


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_with_its_node(tmp_path: Path, options: dict[str, Any]) -> None:
    more = {"save_steps": 0, "step_timeout_min": 0.15}
    ranks = Ranks(tmp_path, 2, hold_at=4, **options | more)
    ranks.wait_until(lambda: ranks.step() > 2, "a few steps")
    os.kill(ranks.children[1].pid, signal.SIGSTOP)
    assert ranks.children[0].wait() == RETRY
    ranks.kill()
    (log, _) = ranks.logs()
    assert "no step ended in" in log
    assert "rank 1 on " in log
    assert "is silent for" in log
    assert "Thread" in log  # the position of each rank


@pytest.mark.slow
def test_a_training_leaves_before_the_time_of_its_job_is_up(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALA_JOB_END", str(time.time() + EXIT_MARGIN_S + 8))
    ranks = Ranks(tmp_path, 2, hold_at=4, **options | {"save_steps": 0})
    assert ranks.end() == [RETRY, 0]
    assert len(list(ranks.state_dir.glob("checkpoint-*/COMMIT.json"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_a_nonfinite_loss_ends_at_once_and_names_the_last_good_checkpoint(
    tmp_path: Path, options: dict[str, Any], stage: int
) -> None:
    more = {"zero_stage": stage, "learning_rate": 1e30, "max_grad_norm": 1e9}
    ranks = Ranks(tmp_path, 1, **options | more | {"save_steps": 1, "logging_steps": 10})
    assert ranks.end() == [BAD_DATA], ranks.logs()[0]
    (log,) = ranks.logs()
    assert "is not finite at step" in log
    assert "; lower learning_rate" in log
    assert not (tmp_path / "facts.json").exists()
    last = max(ranks.state_dir.glob("checkpoint-*"), key=lambda p: int(p.name.partition("-")[2]))
    assert f"the last good checkpoint is {last}" in log
    assert int(log.partition("not finite at step ")[2].partition(";")[0]) < 10


def test_the_slow_rank_is_named_by_the_files_of_the_ranks(tmp_path: Path) -> None:
    def out(rank: int, attempt: str = "a1") -> Any:
        return SimpleNamespace(rank=rank, attempt=attempt, world_size=3)

    assert find_slow_ranks(tmp_path, out(0)).text.startswith("rank 0 has never reported")
    for rank in range(3):
        dog = StepWatchdog(tmp_path, out(rank), 60)
        dog.folder.mkdir(exist_ok=True)
        dog.step, dog.passes = 7, 30 - (rank == 1)
        dog.set_phase("reading")
        dog.write()
    folder = tmp_path / ".ranks"
    node = json.loads((folder / "rank-1.json").read_text())["node"]
    found = find_slow_ranks(folder, out(0))
    assert found == SlowRanks(f"rank 1 on {node} is behind (reading, step 7)", (node,))
    os.utime(folder / "rank-2.json", (1, 1))
    assert f"rank 2 on {node} is silent for" in find_slow_ranks(folder, out(0)).text
    assert "rank 1 has not reported in this attempt" in find_slow_ranks(folder, out(0, "a2")).text


def test_a_rank_that_hangs_at_its_start_is_named_with_its_node(tmp_path: Path) -> None:
    first: Any = SimpleNamespace(rank=0, attempt="a1", world_size=2)
    other: Any = SimpleNamespace(rank=1, attempt="a1", world_size=2)
    with StepWatchdog(tmp_path, other, 60), StepWatchdog(tmp_path, first, 60) as dog:
        dog.step = 1
        dog.write()
        node = json.loads((dog.folder / "rank-0.json").read_text())["node"]
        found = find_slow_ranks(dog.folder, first)
        assert found == SlowRanks(f"rank 1 on {node} is behind (loading, step 0)", (node,))


def test_a_hang_is_reported_once_and_long_work_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hala_hpc.engines.training.watchdog.CHECK_INTERVAL_S", 0.02)
    errors: list[RankHung] = []
    out: Any = SimpleNamespace(rank=0, attempt="a1", world_size=1, abort=errors.append)
    # A late check counts as two: a delay of this process is no hang.
    with StepWatchdog(tmp_path, out, 1.0) as dog:
        for phase in ("loading", "saving", "evaluating"):
            dog.set_phase(phase)
            time.sleep(1.2)
        dog.set_phase("reading")
        for step in range(8):
            dog.step = step
            time.sleep(0.2)
        assert not errors
        wait_until(lambda: errors, "the hang is reported")
        dog._thread.join(5)
    assert len(errors) == 1
    assert "after step 7" in str(errors[0])
    assert errors[0].kind is FailureClass.ENGINE


def test_another_engine_than_asked_for_is_an_error(tmp_path: Path) -> None:
    settings = TrainingSettings(zero_stage=2, dtype="bfloat16", global_batch_size=16)
    training = Training(tmp_path, tmp_path, tmp_path, settings)
    arguments = SimpleNamespace(
        per_device_train_batch_size=8, gradient_accumulation_steps=2, max_grad_norm=1.0
    )
    trainer: Any = SimpleNamespace(
        deepspeed=None, args=arguments, accelerator=SimpleNamespace(mixed_precision="bf16")
    )
    out: Any = SimpleNamespace(world_size=1)
    with pytest.raises(UserError) as caught:
        require_engine(trainer, training, out)
    text = str(caught.value)
    assert "engine='torch' instead of 'deepspeed', zero_stage=0 instead of 2;" in text


@pytest.mark.parametrize("moment", ["listed", "read"])
def test_a_checkpoint_that_gets_its_name_while_the_folder_is_read_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    node: Any = None
    run = StopRun(node, Artifact(tmp_path))
    staged = run.state_dir / ".staging" / "a1" / "checkpoint-10"
    staged.mkdir(parents=True)
    (staged / "metrics.jsonl").write_text('{"step": 10}\n')

    def commit() -> None:
        if staged.exists():
            staged.rename(run.state_dir / staged.name)
            staged.parent.rmdir()

    def after_commit(plain: Any, part: str) -> Any:
        def scan(path: Any, *more: Any, **others: Any) -> Any:
            if part in str(path):
                commit()
            return plain(path, *more, **others)

        return scan

    assert is_saving(run.state_dir / ".staging")
    if moment == "listed":
        monkeypatch.setattr(os, "scandir", after_commit(os.scandir, "a1"))
        assert not is_saving(run.state_dir / ".staging")
        staged.parent.mkdir()
        (run.state_dir / staged.name).rename(staged)
    else:
        monkeypatch.setattr(Path, "read_text", after_commit(Path.read_text, "metrics"))
    assert run.last_step() == 10
    assert not staged.exists()


class OverBeforeItsStop(StopRun):
    """A training that ended before it could be stopped."""

    def submit(self, timeout_min: int = 20) -> None:
        del timeout_min
        self.job = "1"
        self.artifact.write_marker(UnitMarker(unit=0))
        model = self.artifact.unit_folder(0) / "model.safetensors"
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_bytes(b"weights")

    def is_queued(self) -> bool:
        return False

    def end(self) -> None:
        """Nothing runs."""


def test_stopping_ends_with_a_reason_when_no_training_can_be_stopped(tmp_path: Path) -> None:
    node: Any = SimpleNamespace(base=tmp_path, shape=Shape(), loading_s=0.0)
    node.fresh = lambda name: OverBeforeItsStop(node, Artifact(tmp_path / name))
    tally = stop_all({2: node}, {2: b"weights"}, StopPlan(stops=3, saves=1), Random(5))
    assert (tally.stops, tally.runs, tally.other_weights) == (0, 3, 0)
    assert tally.defects == [
        "3 consecutive trainings ended before any stop: 4 of 4 stops were not made"
    ]
    result = summary(tally, StopPlan(stops=5, saves=1), 0.0)
    assert not result["good"]
    assert result["missing_kinds"] == [*STOPS, "kill_while_saving"]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("minislurm")
def test_stops_on_two_nodes_of_a_real_slurm_change_nothing(tmp_path: Path) -> None:
    asked = StopPlan(stops=3, saves=1, stages=(2,), shape=Shape(steps=steps(150)))
    nodes = {2: StopNode(tmp_path, 2, asked.shape)}
    tally = stop_all(nodes, calm_weights(nodes), asked, Random(5))
    assert not tally.defects
    assert tally.kinds.total() == 4
    assert max(tally.lost_steps) <= asked.shape.save_steps
