"""Several real ranks of a training as processes of this machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hala_hpc.backends.local import free_port

#: No rank of so small a training lives longer.
LIMIT_S = 240


class Ranks:
    """The ranks of one attempt at sft, running. `stop_at` tells them to stop at that step."""

    def __init__(self, base: Path, ranks: int, stop_at: float = 1e9, **settings: Any) -> None:
        self.base, self.ranks = base, ranks
        base.mkdir(parents=True, exist_ok=True)
        env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        if ranks > 1:
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
            env |= {"WORLD_SIZE": str(ranks)}
        words = ["tests/plain_out.py", "sft", json.dumps(settings), str(base), str(stop_at)]
        self.children = []
        for rank in range(ranks):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}
            with (base / f"rank-{rank}.log").open("w") as log:
                self.children.append(
                    subprocess.Popen(
                        [sys.executable, *words],
                        env=env | own,
                        cwd=Path(__file__).parent.parent,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for something while the ranks run."""
        deadline = time.monotonic() + LIMIT_S
        while not true():
            assert time.monotonic() < deadline, f"never happened: {what}"
            assert any(child.poll() is None for child in self.children), self.logs()[0]
            time.sleep(0.005)

    def end(self, limit_s: float = LIMIT_S) -> list[int]:
        """Exit codes of all ranks."""
        return [child.wait(timeout=limit_s) for child in self.children]

    def kill(self) -> None:
        """End all at once."""
        for child in self.children:
            child.kill()
        self.end()

    def logs(self) -> list[str]:
        """What each rank printed."""
        return [(self.base / f"rank-{rank}.log").read_text() for rank in range(self.ranks)]

    @property
    def kept(self) -> Path:
        """Where the checkpoints are."""
        return self.base / "kept" / "0"

    def step(self) -> int:
        """The last step that rank 0 told."""
        try:
            return int(json.loads((self.kept / ".ranks" / "rank-0.json").read_text())["step"])
        except OSError:
            return 0


def losses_of(base: Path) -> list[float]:
    """The loss curve of a finished training."""
    facts = json.loads((base / "facts.json").read_text())
    return [point["loss"] for point in facts["details"]["curve"]]


def weights_of(base: Path) -> bytes:
    """The weights of a finished training."""
    return (base / "output" / "0" / "model.safetensors").read_bytes()
