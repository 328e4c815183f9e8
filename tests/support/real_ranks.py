"""Real ranks of a training as processes of this machine."""

import json
import os
from collections.abc import Callable
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from checkout import ROOT
from plain_out import run_rank

from benchmarks.common.waiting import wait_until
from hala_hpc.core.files import write_text
from hala_hpc.core.ports import find_free_port

#: Timeout of a rank in such small trainings.
LIMIT_S = 240
#: Imports of every rank, which take most of the time of such small trainings.
HEAVY = ["trl.trainer.sft_trainer", "deepspeed", "datasets", "peft", "tensorboardX"]
HEAVY += [f"transformers.models.{name}.modeling_{name}" for name in ("lfm2", "qwen2")]


@cache
def ready() -> Any:
    """Context that starts ranks as forks of a process that has imported only what they need."""
    import torch

    if torch.cuda.is_available():
        # A fork cannot use CUDA once its parent has initialized it.
        return get_context("spawn")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # DeepSpeed reads it on import; a job on such a machine sets it before.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    context = get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    return context


class Rank:
    """One rank as a process of its own, with the methods of `subprocess.Popen`."""

    def __init__(self, arguments: list[str], env: dict[str, str], log: Path) -> None:
        # Daemons must not have children, but converting a checkpoint starts one.
        self.process = ready().Process(
            target=run_in_child, args=(arguments, env, log), daemon=False
        )
        self.process.start()
        self.pid = int(self.process.pid)

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        code: int | None = self.process.exitcode
        return code

    def wait(self, timeout: float = LIMIT_S) -> int:
        """Wait for the exit code."""
        self.process.join(timeout)
        code = self.poll()
        assert code is not None, f"process {self.pid} did not end within {timeout} s"
        return code

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()


def run_in_child(arguments: list[str], env: dict[str, str], log: Path) -> None:
    """In the child: redirect output to the log, set the environment, run the rank."""
    with log.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT)
    run_rank(*arguments)


class Ranks:
    """The running ranks of one attempt at sft. A stop is requested at step `stop_at`.

    After step `hold_at`, or the last step if that comes first, they wait for `release()`.
    """

    def __init__(
        self,
        base: Path,
        ranks: int,
        stop_at: float = 1e9,
        hold_at: int | None = None,
        **settings: Any,
    ) -> None:
        self.base, self.ranks = base, ranks
        base.mkdir(parents=True, exist_ok=True)
        env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        if ranks > 1:
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_port())}
            env |= {"WORLD_SIZE": str(ranks)}
        self.gate = base / "step-gate"
        if hold_at is not None:
            write_text(self.gate, str(hold_at))
            env |= {"HALA_STEP_GATE": str(self.gate)}
        arguments = ["sft", json.dumps(settings), str(base), str(stop_at)]
        self.children = []
        for rank in range(ranks):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}
            self.children.append(Rank(arguments, env | own, base / f"rank-{rank}.log"))

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for a condition while the ranks run."""

        def check() -> bool:
            assert any(child.poll() is None for child in self.children), self.logs()[0]
            return true()

        wait_until(check, what, LIMIT_S, state=lambda: self.logs()[0])

    def release(self) -> None:
        """Let waiting ranks continue."""
        self.gate.unlink()

    def end(self, limit_s: float = LIMIT_S) -> list[int]:
        """Wait for all ranks; return their exit codes."""
        return [child.wait(timeout=limit_s) for child in self.children]

    def kill(self) -> None:
        """Kill all ranks."""
        for child in self.children:
            child.kill()
        self.end()

    def logs(self) -> list[str]:
        """The output of each rank."""
        return [(self.base / f"rank-{rank}.log").read_text() for rank in range(self.ranks)]

    @property
    def state_dir(self) -> Path:
        """The folder of the checkpoints."""
        return self.base / "kept" / "0"

    def step(self) -> int:
        """The last step that rank 0 reported."""
        try:
            return int(json.loads((self.state_dir / ".ranks" / "rank-0.json").read_text())["step"])
        except OSError:
            return 0


def losses_of(base: Path) -> list[float]:
    """The loss curve of a finished training."""
    facts = json.loads((base / "facts.json").read_text())
    return [point["loss"] for point in facts["details"]["curve"]]


def weights_of(base: Path) -> bytes:
    """The weights of a finished training."""
    return (base / "output" / "0" / "model.safetensors").read_bytes()
