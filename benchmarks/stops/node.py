"""A tiny fine-tuning on two nodes of a real SLURM, whose job can be stopped in any way."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.moving_files import retry_if_moved
from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.files import write_text
from hala_hpc.core.job_records import RankState
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.training.checkpoints import find_fault, list_checkpoints, read_commit, step_of
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.jobs.spec import make_spec, worker_job

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = ROOT / "tests" / "standin"
#: Seconds after which a wait counts as a deadlock.
LIMIT_S = WAIT_S
RANKS = 2


class HeldStep(JsonRecord):
    """`<gate>.held`: the step after which an attempt waits; see `tests/standin/step_gate.py`."""

    attempt: str
    step: int


@dataclass(frozen=True)
class Shape:
    """Steps of the training, and between its checkpoints.

    The training can be short, as it waits for its stop (see `StopRun.hold_after`).
    """

    steps: int = 300
    save_steps: int = 10


class StopNode:
    """The node and its undisturbed result, and a new artifact of it for each run."""

    def __init__(self, base: Path, zero_stage: int, shape: Shape) -> None:
        self.base, self.zero_stage, self.shape = base, zero_stage, shape
        make_inputs(base)
        recipe = base / f"zero-{zero_stage}.toml"
        recipe.write_text(
            f'[sft]\nmodel = "{base}/model"\ntokens = "{base}/made/tokens"\n'
            f"max_steps = {shape.steps}\nglobal_batch_size = 16\nmicro_batch_tokens = 256\n"
            f"learning_rate = 3e-3\nzero_stage = {zero_stage}\nsave_steps = {shape.save_steps}\n"
            "save_every_min = 0\n[sft.resources]\nnodes = 2\ncpus_per_rank = 1\nmem_gb = 3\n"
        )
        overrides = ["stage=sft", f"recipe={recipe}", f"work={base}/work", "launcher=minislurm"]
        command_line = parse_command_line(overrides)
        self.step = make_plan(command_line.nodes, command_line.work, command_line.environment)[
            "sft"
        ]
        path = os.pathsep.join((str(STAND_IN), str(ROOT)))
        variables = command_line.launcher.environment | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        launcher = command_line.launcher.model_copy(update={"environment": variables})
        spec = make_spec(launcher, self.step.node.settings, "main", LaunchedCode())
        resources = spec.resources.model_copy(update={"gpus_per_node": 0})
        self.spec = spec.model_copy(update={"resources": resources})
        self.loading_s = 0.0
        """Seconds from the start of an attempt to its first step, once `calm` has measured it."""

    def fresh(self, name: str) -> "StopRun":
        """Return a new artifact without results."""
        end = f"zero{self.zero_stage}-{self.step.fingerprint}"
        artifact = Artifact(self.base / "work" / f"{name}-{end}")
        artifact.write_config(self.step.config())
        return StopRun(self, artifact)

    def calm(self) -> bytes:
        """Return the weights of an undisturbed training."""
        run = self.fresh("calm")
        run.submit()
        run.wait(lambda: run.is_running() or not run.is_queued())
        began = time.monotonic()
        run.wait(lambda: run.last_step() or not run.is_queued())
        self.loading_s = time.monotonic() - began
        run.wait(lambda: not run.is_queued(), 4 * LIMIT_S)
        return run.weights()


class StopRun:
    """One training that is stopped repeatedly."""

    def __init__(self, node: StopNode, artifact: Artifact) -> None:
        self.node, self.artifact = node, artifact
        self.state_dir = artifact.state_dir(0)
        self.job = ""
        self.max_step = 0
        """The last step that was read while this waited; reset by the next attempt."""

    def submit(self, timeout_min: int = 20) -> None:
        """Submit a job that resumes the training."""
        spec = self.node.spec
        resources = spec.resources.model_copy(update={"timeout_min": timeout_min})
        variables = spec.launcher.environment | {"HALA_STEP_GATE": str(self.gate)}
        launcher = spec.launcher.model_copy(update={"environment": variables})
        spec = spec.model_copy(update={"resources": resources, "launcher": launcher})
        begin_round(self.artifact, 1, 1, spec)
        self.job = SlurmBackend().submit(worker_job(self.artifact, 1, spec))

    @property
    def gate(self) -> Path:
        """The file that the training waits for; see `tests/standin/step_gate.py`."""
        return self.node.base / f"{self.artifact.folder.name}.step-gate"

    def hold_after(self, step: int) -> None:
        """Let the training wait after this step; one more than it has: after the last save."""
        write_text(self.gate, str(step))

    def is_held(self) -> bool:
        """Whether the newest attempt waits after the step that was set last, or a later one."""
        return self.held_step() >= int(self.gate.read_text())

    def held_step(self) -> int:
        """Return the step after which the newest attempt waited last; 0 if it has not yet."""
        held = HeldStep.read(self.gate.with_name(f"{self.gate.name}.held"))
        return held.step if held and held.attempt == self.attempt() else 0

    def release(self) -> None:
        """Let the training continue to its end."""
        self.gate.unlink(missing_ok=True)

    def is_queued(self) -> bool:
        """Whether the job runs or is pending."""
        return bool(SlurmBackend().query_queue([self.job]))

    def wait(self, true: Callable[[], object], limit_s: float = LIMIT_S) -> bool:
        """Wait for a condition; return whether it became true in time."""

        def condition() -> object:
            value = true()
            self.max_step = max(self.max_step, self.last_step())
            return value

        try:
            wait_until(condition, "what a stop waits for", limit_s, pause_s=0.2)
        except TimeoutError:
            return False
        return True

    def is_done(self) -> bool:
        """Whether the model is finished and has its marker."""
        return self.artifact.marker(0) is not None

    def pids(self) -> list[int]:
        """Return the pids of the model code of the running attempt, by rank; 0 if unknown."""
        found = [self.artifact.rank_progress(0, rank) for rank in range(RANKS)]
        attempt = self.attempt()
        return [
            progress.pid if progress and progress.attempt == attempt else 0 for progress in found
        ]

    def is_running(self) -> bool:
        """Whether the model code of all ranks of the newest attempt is alive."""
        return all(pid and Path(f"/proc/{pid}").exists() for pid in self.pids())

    def attempt(self) -> str:
        """Return the name of the newest attempt; empty before the first."""
        lease = self.artifact.worker_lease(0)
        return lease.attempt if lease else ""

    def last_step(self) -> int:
        """Return the last finished step, also of an attempt that was killed since."""
        return retry_if_moved(self.read_last_step)

    def read_last_step(self) -> int:
        """The same in one read. Raises: FileNotFoundError if a checkpoint is removed meanwhile."""
        steps = [0]
        for file in self.state_dir.glob("**/metrics.jsonl"):
            lines = file.read_text().split("\n")[:-1]
            steps += [json.loads(line)["step"] for line in lines[-1:]]
        for file in self.state_dir.glob(".ranks/rank-*.json"):
            state = RankState.read_if_valid(file)
            steps.append(state.step if state else 0)
        return max(steps)

    def start_steps(self) -> list[int]:
        """Return the steps from which the attempts so far resumed, in order; 0 is the start."""
        log = self.artifact.log_file(0)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        starts = [line for line in lines if " starting from " in line]
        return [int(s.rpartition("-")[2]) if "/checkpoint-" in s else 0 for s in starts]

    def whole(self) -> set[int]:
        """Return the steps of the complete checkpoints, read back here; 0 is the start."""

        def read_steps() -> set[int]:
            marked = [path for path in list_checkpoints(self.state_dir) if read_commit(path)]
            return {0} | {step_of(path) for path in marked if find_fault(path) is None}

        return retry_if_moved(read_steps)

    def weights(self) -> bytes:
        """Return the weights of the finished model; empty if there is none."""
        file = self.artifact.unit_folder(0) / "model.safetensors"
        return file.read_bytes() if self.is_done() and file.exists() else b""

    def end(self) -> None:
        """Cancel the job, whatever its state."""
        if self.job:
            SlurmBackend().cancel([self.job])
            self.wait(lambda: not self.is_queued())


def make_inputs(base: Path) -> None:
    """Make a tiny model of random weights and token files, once."""
    if (base / "made").exists():
        return
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from corpora import pair, write_corpus  # type: ignore[import-not-found]
    from random_models import random_lfm2  # type: ignore[import-not-found]
    from tiny_models import SENTENCES  # type: ignore[import-not-found]
    from token_folders import make_tokens  # type: ignore[import-not-found]

    model = random_lfm2(base / "model")
    rows: list[dict[str, Any]] = [
        pair(f"{text} {number}", target)
        for number in range(30)
        for text, target in SENTENCES.items()
    ]
    write_corpus(base / "pairs", rows)
    settings = {"model": str(model), "train": str(base / "pairs"), "objective": "translate"}
    make_tokens(base / "made", **settings)
