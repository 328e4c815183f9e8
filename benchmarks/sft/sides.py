"""The two sides of the `sft` benchmark: `sft` through `launch`, and the plain script."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sft.tokens import (
    GLOBAL_ROWS,
    MAX_LENGTH,
    MICRO_ROWS,
    PASS_TOKENS,
    RANKS,
    SEED,
    Tokens,
)
from benchmarks.sft.turns import Running
from benchmarks.sft.workload import Rows
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.environment import JOB_ENVIRONMENT
from hala_hpc.core.ports import find_free_port
from hala_hpc.engines.training.figures import TrainingFigures
from hala_hpc.engines.training.metrics import METRICS, METRICS_FILE, StepFigures, read_metrics
from hala_hpc.jobs.attempt_records import attempt_ends
from hala_hpc.stages.sft import FIGURES_FILE


@dataclass(frozen=True)
class Timing:
    """End times of the steps of a training, in seconds from the start of its job."""

    ends_s: list[float]

    @property
    def first_s(self) -> float:
        """Seconds until the end of the first step."""
        return self.ends_s[0]

    @property
    def rest_s(self) -> float:
        """Seconds of all steps but the first."""
        return self.ends_s[-1] - self.ends_s[0]


def make_tokens(
    base: Path, model: Path, rows: Rows, packing: bool, max_length: int = MAX_LENGTH
) -> Tokens:
    """Make token files through `launch`."""
    settings = {"model": model, "train": rows.corpus, "max_length": max_length, "units": 1}
    text = {"stage": "tokenize", "held_out": 0.0, "packing": packing, "long_rows": "split"}
    process, log = launch(base, "tokens", {**text, **settings})
    with Running([process], lambda: None, log) as running:
        running.run_to_the_end()
    return Tokens((base / "work" / "latest" / "tokens").resolve() / "output")


def start_ours(base: Path, model: Path, tokens: Tokens, **more: Any) -> Running:
    """Start one training by `sft` for an epoch, with extra settings."""
    settings = {
        "stage": "sft",
        "model": model,
        "tokens": tokens.folder,
        "global_batch_size": GLOBAL_ROWS,
        "micro_batch_tokens": PASS_TOKENS,
        "zero_stage": 2,
        "save_every_min": 0,
        "seed": SEED,
    }
    process, log = launch(base, "sft", settings | more)
    # During the training they are beside the checkpoints, then beside the weights.
    steps = "sft-*/kept/*/metrics/metrics.jsonl"
    return Running([process], lambda: next((base / "work").glob(steps), None), log)


def result_of(base: Path) -> Path:
    """Return the folder of a finished training."""
    return (base / "work" / "latest" / "sft").resolve()


def figures_of(base: Path) -> TrainingFigures:
    """Return the figures of a finished training."""
    figures = TrainingFigures.read(result_of(base) / "output" / FIGURES_FILE)
    assert figures is not None, base
    assert figures.ranks == RANKS, figures.ranks
    return figures


def metrics_of(base: Path) -> list[StepFigures]:
    """Return the figures of every step of a finished training."""
    return read_metrics(result_of(base) / "output" / METRICS / METRICS_FILE)


def ours_timing(base: Path) -> Timing:
    """Return the timing of a finished training by `sft`."""
    figures_of(base)
    ends = [end for end in attempt_ends(Artifact(result_of(base))) if end.rank == 0]
    began = min(end.record.began for end in ends)
    return Timing([line.time - began for line in metrics_of(base) if line.time is not None])


def ours(base: Path, model: Path, tokens: Tokens) -> Timing:
    """Run one training by `sft` alone.

    A pass of packed sequences has half as many slots: padded rows fill about half of theirs, and
    on a CPU everything that leaves the caches costs time.
    """
    pass_tokens = PASS_TOKENS // 2 if tokens.facts.packing else PASS_TOKENS
    with start_ours(base, model, tokens, micro_batch_tokens=pass_tokens) as running:
        running.run_to_the_end()
    return ours_timing(base)


def launch(
    base: Path, name: str, settings: dict[str, Any]
) -> tuple["subprocess.Popen[bytes]", Path]:
    """Start one node on this machine, a core for each rank; return the process and its log."""
    base.mkdir(parents=True, exist_ok=True)
    ranks = RANKS if name == "sft" else 1
    lines = "\n".join(f"{key} = {toml(value)}" for key, value in settings.items())
    resources = f"[{name}.resources]\nnodes = {ranks}\ncpus_per_rank = 1\n"
    recipe = base / f"{name}.toml"
    recipe.write_text(f"[{name}]\n{lines}\n{resources}")
    command = ["-m", "hala_hpc.launch", f"stage={name}", f"recipe={recipe}", f"work={base}/work"]
    # The launcher of one machine has one rank unless an override changes it.
    command += ["launcher=local", f"{name}.resources.nodes={ranks}"]
    log = base / f"{name}.log"
    with log.open("w") as stream:
        process = subprocess.Popen([sys.executable, *command], stdout=stream, stderr=stream)
    return process, log


def toml(value: Any) -> str:
    """Format a setting as TOML."""
    return json.dumps(value if isinstance(value, bool | int | float) else str(value))


def start_plain(base: Path, model: Path, rows: Rows) -> Running:
    """Start one training by the plain script for an epoch."""
    base.mkdir(parents=True, exist_ok=True)
    times, log = base / "times.jsonl", base / "log"
    settings = {
        "model": str(model),
        "rows": str(rows.plain),
        "output": str(base / "model"),
        "times": str(times),
        "micro_rows": MICRO_ROWS,
        "accumulation": GLOBAL_ROWS // (MICRO_ROWS * RANKS),
        "max_length": MAX_LENGTH,
    }
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_port()),
        "OMP_NUM_THREADS": "1",
    }
    shared |= {"WORLD_SIZE": str(RANKS), "HF_HOME": str(base / "cache")}
    command = [sys.executable, "-m", "benchmarks.sft.plain", json.dumps(settings)]
    with log.open("w") as stream:
        ranks = [
            subprocess.Popen(
                command,
                env=os.environ | JOB_ENVIRONMENT | shared | {"RANK": str(n), "LOCAL_RANK": str(n)},
                stdout=stream,
                stderr=stream,
                # As for `sft`: the kernel shares the cores among sessions first (autogroup).
                start_new_session=True,
            )
            for n in range(RANKS)
        ]
    return Running(ranks, lambda: times, log)


def plain_timing(running: Running) -> Timing:
    """Return the timing of a training by the plain script."""
    return Timing([end - running.began for end in running.ends_s()])


def plain(base: Path, model: Path, rows: Rows) -> Timing:
    """Run one training by the plain script alone."""
    with start_plain(base, model, rows) as running:
        running.run_to_the_end()
    return plain_timing(running)
