"""One short training on one GPU through the trainer of `sft`, with its figures."""

import gc
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.gpu.faults import faults, summarize_fault
from hala_hpc.core.errors import RETRY, TransientError
from hala_hpc.core.files import read_json
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.models.compile_cache import CompileCache
from hala_hpc.engines.models.memory import GB
from hala_hpc.engines.models.shape import read_shape
from hala_hpc.engines.training.arguments import make_sft_config, set_training_environment
from hala_hpc.engines.training.checkpoint_interval import SavingClock
from hala_hpc.engines.training.dataset import read_facts
from hala_hpc.engines.training.feed import StepFeed
from hala_hpc.engines.training.kernels import TrainingKernels
from hala_hpc.engines.training.metrics import METRICS, METRICS_FILE, StepFigures, read_metrics
from hala_hpc.engines.training.micro_batch import choose_micro_batch_tokens, longest_row
from hala_hpc.engines.training.passes import padded_size, plan_passes
from hala_hpc.engines.training.rank_memory import rank_memory
from hala_hpc.engines.training.trainer import make_trainer
from hala_hpc.engines.training.training_run import Attempt, Training
from hala_hpc.engines.training.watchdog import StepWatchdog

STEP_LIMIT_S = 600


class TrialContext:
    """The unit context of a trial: one rank, never stopped, without records."""

    rank, world_size, worker = 0, 1, 0
    stop_requested = False
    seconds_left: float | None = None

    def __init__(self, base: Path) -> None:
        self.base = self.shared = self.cache = base
        self.attempt = uuid4().hex[:8]

    def folder(self, unit: int) -> Path:
        """Folder of results; a trial leaves none."""
        return self.base / f"output-{unit}"

    def state_dir(self, unit: int) -> Path:
        """Folder of the metrics."""
        return self.base / f"kept-{unit}"

    def check_lease(self) -> None:
        """Do nothing: there is no other attempt."""

    def read_new_log(self) -> str:
        """Return nothing: there is no log."""
        return ""

    def abort(self, error: TransientError) -> None:
        """End the process."""
        print(error, flush=True)
        os._exit(RETRY)

    def commit(self, unit: int) -> None:
        """Do nothing: a trial has no result."""

    def report_progress(self, **counts: float) -> None:
        """Do nothing: no progress is reported."""


class MemoryTaken(JsonRecord):
    """Memory of the GPU, in GB of 2^30 bytes."""

    peak_gb: float
    """Peak of torch's allocations."""
    reserved_gb: float
    """Peak of torch's reserved memory."""
    context_gb: float
    """Memory used beside that, after the training."""


class TrialFigures(JsonRecord):
    """Figures of one training; None if not measured."""

    trial: str
    error: str | None = None
    """Why it failed."""
    kernels: TrainingKernels | None = None
    tokens_per_s: float | None = None
    """Without padding."""
    mfu: float | None = None
    step_s: float | None = None
    passes_per_step: float | None = None
    fill: float | None = None
    """Share of the tokens of passes that are not padding."""
    pass_tokens: int | None = None
    """Of the largest pass, with padding."""
    loss_first: float | None = None
    loss_last: float | None = None
    memory: MemoryTaken | None = None
    """None without a GPU."""
    host_gb: float | None = None
    """Peak of the process's host memory until then."""
    estimated_gb: float | None = None
    """Estimate of `rank_memory` for the largest pass, without CUDA's context."""
    estimated_over_peak: float | None = None


def tried(name: str, training: Training, warm_steps: int, compiled: CompileCache) -> TrialFigures:
    """Return the figures of a training, or why it cannot run.

    `compiled` is the same for all trainings of a process: background compilation keeps using the
    folder that it started with.
    """
    try:
        trainer = trained(training, compiled)
        return figures_of(name, trainer, training, warm_steps)
    except faults() as error:
        return TrialFigures(
            trial=name, error=summarize_fault(error), estimated_gb=of_too_much(error, training)
        )
    finally:
        release()


def of_too_much(error: Exception, training: Training) -> float | None:
    """Return the estimate in GB for a training that exceeds the GPU; None at other errors."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError):
        return None
    tokens = training.settings.micro_batch_tokens
    row_tokens = longest_row(read_facts(training.tokens))
    return rounded(estimate_gb(training, tokens or row_tokens, row_tokens), 3)


def release() -> None:
    """Free the GPU's memory; the next training measures its own."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def trained(training: Training, compiled: CompileCache) -> Any:
    """Return the trainer after all steps; nothing was saved."""
    set_training_environment(training.settings.zero_stage)
    out = TrialContext(training.state_dir.parent)
    with StepWatchdog(training.state_dir, out, STEP_LIMIT_S) as heartbeat:
        arguments = make_sft_config(training, out)
        tokens = choose_micro_batch_tokens(training, out.world_size)
        saving = SavingClock(training.settings, 1)
        attempt = Attempt(training, out, heartbeat, saving, compiled, None, tokens)
        trainer = make_trainer(attempt, arguments)
        # A checkpoint of 1.2B weights takes longer than all steps of the trial.
        trainer._save_checkpoint = lambda *_, **__: None
        trainer.train()
        return trainer


def figures_of(name: str, trainer: Any, training: Training, warm_steps: int) -> TrialFigures:
    """Return the figures of the steps after the first ones."""
    lines = read_metrics(training.state_dir / METRICS / METRICS_FILE)
    measured = lines[warm_steps:]
    seconds = sum(line.step_s or 0.0 for line in measured)
    tokens = sum((line.tokens_per_s or 0.0) * (line.step_s or 0.0) for line in measured)
    rate = tokens / seconds if seconds else None
    pass_tokens, row_tokens = largest_pass(trainer.feed)
    estimated_gb = estimate_gb(training, pass_tokens, row_tokens)
    memory = memory_taken()
    peak_gb = memory.peak_gb if memory else None
    return TrialFigures(
        trial=name,
        kernels=trainer.kernel_watch.kernels,
        tokens_per_s=rounded(rate, 1),
        mfu=rounded(mean_mfu(measured), 4),
        step_s=rounded(seconds / len(measured) if measured else None, 4),
        passes_per_step=trainer.feed.passes_per_step,
        fill=trainer.feed.fill,
        pass_tokens=pass_tokens,
        loss_first=lines[0].loss,
        loss_last=lines[-1].loss,
        memory=memory,
        host_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        estimated_gb=rounded(estimated_gb, 3),
        estimated_over_peak=rounded(
            estimated_gb / peak_gb if estimated_gb and peak_gb else None, 3
        ),
    )


def mean_mfu(lines: Sequence[StepFigures]) -> float | None:
    """Return the mean MFU of some steps; None if the peak is unknown."""
    seconds = sum(line.step_s or 0.0 for line in lines)
    if not seconds or any(line.mfu is None for line in lines):
        return None
    return sum((line.mfu or 0.0) * (line.step_s or 0.0) for line in lines) / seconds


def rounded(value: float | None, digits: int) -> float | None:
    """Round a figure; None stays None."""
    return None if value is None else round(value, digits)


def largest_pass(feed: StepFeed) -> tuple[int, int]:
    """Return the padded tokens of the largest pass of the steps read, and of a row in it."""
    found = (0, 0)
    for step in range(min(feed.steps, len(feed))):
        lengths = feed.order.lengths[feed.numbers[step]].tolist()
        dealt = plan_passes(lengths, feed.cut)
        for rows in dealt[feed.rank]:
            found = max(found, (padded_size(lengths, rows), lengths[rows[0]]))
    return found


def estimate_gb(training: Training, tokens: int, row_tokens: int) -> float | None:
    """Return the estimate of `rank_memory` for torch's allocation in GB; None for an unknown shape.

    CUDA's context is excluded: torch does not count it.
    """
    shape = read_shape(read_json(training.model / "config.json"))
    if shape is None:
        return None
    taken = rank_memory(shape, training.settings, 1, tokens, row_tokens)
    return float(taken.total - taken.context) / GB


def memory_taken() -> MemoryTaken | None:
    """Return the peak GPU memory of the training; None without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return MemoryTaken(
        peak_gb=round(torch.cuda.max_memory_allocated() / GB, 3),
        reserved_gb=round(torch.cuda.max_memory_reserved() / GB, 3),
        context_gb=round((total - free - torch.cuda.memory_reserved()) / GB, 3),
    )
