"""The two sides of the measurement of `sft`: ours through `launch`, and the plain script."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.sft_workload import Rows
from hala_hpc.backends.local import free_port
from hala_hpc.core.files import read_json
from hala_hpc.engines.batch_order import GlobalBatchOrder, fill_of
from hala_hpc.engines.job_environment import JOB_ENVIRONMENT
from hala_hpc.engines.token_names import TOKENS_FILE
from hala_hpc.engines.training_data import load

MICRO_ROWS, GLOBAL_ROWS, RANKS = 8, 64, 2
MAX_LENGTH = 512
SEED = 0


@dataclass(frozen=True)
class Timing:
    """When the steps of a training ended, in seconds from the start of its job."""

    ends_s: list[float]

    @property
    def first_s(self) -> float:
        """Until the end of the first step."""
        return self.ends_s[0]

    def step_s(self, skipped: int) -> float:
        """Seconds of a step, median; the first ones are left out."""
        ends = self.ends_s[skipped - 1 :]
        return median(after - before for before, after in pairwise(ends))

    @property
    def rest_s(self) -> float:
        """Seconds of all steps but the first."""
        return self.ends_s[-1] - self.ends_s[0]

    def told(self) -> dict[str, float]:
        """What is printed of a round."""
        return {"first_s": round(self.first_s, 2), "step_s": round(self.step_s(3), 4)}


class Tokens:
    """Token files that `tokenize` made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = read_json(folder / TOKENS_FILE)

    @cached_property
    def lengths(self) -> Any:
        """Tokens of each sequence."""
        return load(self.folder).lengths

    def order(self, grouped: bool) -> GlobalBatchOrder:
        """The order in which `sft` learns them."""
        return GlobalBatchOrder(self.lengths, GLOBAL_ROWS, SEED, grouped)

    def fill(self, grouped: bool) -> float:
        """Share of the slots of our passes that are no padding."""
        rows = self.order(grouped).rows_of(0)
        return fill_of(rows, self.lengths, MICRO_ROWS)

    def plain_fill(self) -> float:
        """The same for rows in random order, as TRL takes them unless told otherwise."""
        import numpy as np

        rows = np.random.default_rng(SEED).permutation(len(self.lengths))
        whole = len(rows) // MICRO_ROWS * MICRO_ROWS
        return fill_of(rows[:whole], self.lengths, MICRO_ROWS)

    def after_first_step(self, grouped: bool) -> int:
        """Tokens of all steps of ours but the first."""
        rows = self.order(grouped).rows_of(0)[GLOBAL_ROWS:]
        return int(self.lengths[rows].sum())


def make_tokens(base: Path, model: Path, rows: Rows, packing: bool) -> Tokens:
    """Make token files through the front door."""
    settings = {"model": model, "train": rows.corpus, "max_length": MAX_LENGTH, "units": 1}
    text = {"stage": "tokenize", "held_out": 0.0, "packing": packing, "long_rows": "split"}
    output = launch(base, "tokens", {**text, **settings})
    return Tokens(output / "output")


def ours(base: Path, model: Path, tokens: Tokens, grouped: bool) -> Timing:
    """One training by `sft` for an epoch.

    A pass of packed sequences has half as many lines: about the slots that padded rows take, as
    the memory for a pass is what limits it, on a CPU its caches.
    """
    packed = tokens.facts["packing"]
    settings = {
        "stage": "sft",
        "model": model,
        "tokens": tokens.folder,
        "global_batch_size": GLOBAL_ROWS,
        "micro_batch_size": MICRO_ROWS // 2 if packed else MICRO_ROWS,
        "group_by_length": grouped,
        "zero_stage": 2,
        "save_every_min": 0,
        "seed": SEED,
    }
    folder = launch(base, "sft", settings)
    figures: dict[str, Any] = read_json(folder / "output" / "training.json")
    assert figures["ranks"] == RANKS, figures["ranks"]
    lines = (folder / "output" / "metrics" / "metrics.jsonl").read_text().splitlines()
    attempts = [read_json(path) for path in (folder / "attempts").glob("*.json")]
    began = min(attempt["began"] for attempt in attempts if attempt.get("rank") == 0)
    return Timing([json.loads(line)["time"] - began for line in lines])


def launch(base: Path, name: str, settings: dict[str, Any]) -> Path:
    """Run one node on this machine, a core for each rank; the folder of its results."""
    base.mkdir(parents=True, exist_ok=True)
    ranks = RANKS if name == "sft" else 1
    words = "\n".join(f"{key} = {toml(value)}" for key, value in settings.items())
    resources = f"[{name}.resources]\nnodes = {ranks}\ncpus_per_rank = 1\n"
    recipe = base / f"{name}.toml"
    recipe.write_text(f"[{name}]\n{words}\n{resources}")
    command = ["-m", "hala_hpc.launch", f"stage={name}", f"recipe={recipe}", f"work={base}/work"]
    # The launcher of one machine has one rank unless a word says otherwise.
    command.append(f"{name}.resources.nodes={ranks}")
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return (base / "work" / "latest" / name).resolve()


def toml(value: Any) -> str:
    """A setting as TOML."""
    return json.dumps(value if isinstance(value, bool | int | float) else str(value))


def plain(base: Path, model: Path, rows: Rows) -> Timing:
    """One training by the plain script for an epoch."""
    base.mkdir(parents=True, exist_ok=True)
    times = base / "times.jsonl"
    settings = {
        "model": str(model),
        "rows": str(rows.plain),
        "output": str(base / "model"),
        "times": str(times),
        "micro_rows": MICRO_ROWS,
        "accumulation": GLOBAL_ROWS // (MICRO_ROWS * RANKS),
        "max_length": MAX_LENGTH,
    }
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    shared |= {"WORLD_SIZE": str(RANKS), "HF_HOME": str(base / "cache")}
    command = [sys.executable, "-m", "benchmarks.sft_plain", json.dumps(settings)]
    began = time.time()
    with (base / "log").open("w") as log:
        ranks = [
            subprocess.Popen(
                command,
                env=os.environ | JOB_ENVIRONMENT | shared | {"RANK": str(n), "LOCAL_RANK": str(n)},
                stdout=log,
                stderr=log,
            )
            for n in range(RANKS)
        ]
    codes = [rank.wait() for rank in ranks]
    if any(codes):
        sys.exit((base / "log").read_text()[-3000:])
    lines = times.read_text().splitlines()
    return Timing([json.loads(line)["time"] - began for line in lines])
