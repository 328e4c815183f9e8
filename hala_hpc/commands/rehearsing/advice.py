"""Advice on what to change before the full run, from the measurements of its rehearsal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hala_hpc.commands.rehearsing.measurements import RehearsalState
from hala_hpc.commands.rehearsing.projection import Projection
from hala_hpc.engines.models.gpus import max_memory_gb

#: If one reason rejects more rows than this, model or settings are at fault, not the texts.
SYSTEMATIC_SHARE = 0.5
#: Shares of free GPU memory between which a batch is neither too large nor too small.
MIN_GPU_FREE_SHARE, MAX_GPU_FREE_SHARE = 0.05, 0.4
#: Maximum share of its time that a worker may spend on its start.
MAX_START_SHARE = 0.5


@dataclass(frozen=True)
class Advice:
    """One thing to check; `must` if the full run would fail or be worthless without it."""

    node: str
    text: str
    must: bool


def collect_advice(full: Mapping[str, Projection]) -> list[Advice]:
    """All advice, required changes first."""
    found = [one for node in full.values() for one in advice_of_node(node)]
    return sorted(found, key=lambda one: not one.must)


def advice_of_node(full: Projection) -> Iterator[Advice]:
    """Derive advice for the full node from its rehearsal."""
    name, measured = full.step.name, full.measured
    if measured.state is RehearsalState.FAILED:
        yield Advice(name, f"failed: {'; '.join(measured.reasons)}", must=True)
    if measured.state is not RehearsalState.WORKS:
        return
    yield from advice_of_rows(name, full)
    yield from advice_of_memory(name, full)
    yield from advice_of_time(name, full)
    if measured.losses and not measured.losses[1] < measured.losses[0]:
        first, last = measured.losses
        text = (
            f"the loss does not fall: {first:.3f} at first, {last:.3f} at the end; check its rows "
        )
        yield Advice(name, text + "and learning_rate", must=False)


def advice_of_rows(name: str, full: Projection) -> Iterator[Advice]:
    """Advice on too many rejected rows, in total or for one reason."""
    measured = full.measured
    limit = getattr(full.step.node.settings, "max_rejected_fraction", None)
    if limit is not None and measured.rejected_share > limit:
        text = (
            f"max_rejected_fraction={limit:g}: {measured.rejected_share:.0%} of its rows are "
            "rejected, so the full node would fail; check the samples"
        )
        yield Advice(name, text, must=True)
    for reason, count in measured.rejected.items():
        # Rows that a training did not get to are no fault.
        if measured.rows_in and count > SYSTEMATIC_SHARE * measured.rows_in and limit is not None:
            share = count / measured.rows_in
            text = f"{share:.0%} of its rows are rejected for one reason, {reason}: check "
            yield Advice(name, text + "model, prompt or settings, not the texts", must=True)


def advice_of_memory(name: str, full: Projection) -> Iterator[Advice]:
    """Advice on a batch that is too small or too large for the GPU."""
    measured = full.measured
    has_gb = max_memory_gb(full.step.node.settings.resources.options.get("gpu_type", ""))
    if measured.memory_gb is None or not has_gb:
        return
    room = 1 - measured.memory_gb / has_gb
    usage = f"{measured.memory_gb:.0f} of {has_gb} GB of a GPU are used"
    if room > MAX_GPU_FREE_SHARE:
        text = f"{usage}: larger micro batches or a lower zero_stage would use the rest"
        yield Advice(name, text, must=False)
    elif room < MIN_GPU_FREE_SHARE:
        text = f"{usage}: a longer row may not fit; make micro batches smaller"
        yield Advice(name, text, must=False)


def advice_of_time(name: str, full: Projection) -> Iterator[Advice]:
    """Advice on a time limit that is too short, and on starts that take longer than the work."""
    resources = full.step.node.settings.resources
    if full.wall_s is None or full.job_s is None:
        return
    if full.wall_s > resources.timeout_min * 60:
        text = (
            f"timeout_min={resources.timeout_min}: a worker needs about {full.wall_s / 3600:.1f} h "
            "and resumes in further jobs; more workers or a longer limit save the starts"
        )
        yield Advice(name, text, must=False)
    start_s = full.measured.start_s * full.step.workers
    if full.step.workers > 1 and start_s > MAX_START_SHARE * full.job_s:
        share = start_s / full.job_s
        text = f"{share:.0%} of its time is spent starting {full.step.workers} workers: use fewer"
        yield Advice(name, text, must=False)
