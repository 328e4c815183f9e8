"""Estimate of an evaluation: GPU seconds of its benchmarks and translations.

Results that the work folder has already are not known to a plan, and count as work.
"""

from typing import NamedTuple

from hala_hpc.core.estimate import Estimate, EstimateInputs, format_amount
from hala_hpc.engines.generation.model_fit import estimate_fit
from hala_hpc.engines.generation.settings import EngineSettings

#: lm-eval sends one request per choice; questions have four choices on average.
REQUESTS_PER_QUESTION = 4


class EvaluationWork(NamedTuple):
    """The settings that the work depends on."""

    models: tuple[str, ...]
    """References to the models."""
    tasks: int
    """Number of entries of `tasks`."""
    limit: int | None
    """Max questions of each task."""
    has_own_tasks: bool
    """Whether task files are in a folder: only lm-eval knows how many questions these have."""
    translation: tuple[str, ...]
    """References to the corpora of held-out pairs."""
    engine: EngineSettings


def estimate_evaluation(work: EvaluationWork, inputs: EstimateInputs) -> Estimate:
    """The GPU seconds for benchmarks and translations; scores take almost no space."""
    read = inputs.throughput.read
    model, number = inputs.largest_model(work.models), count_requests(work, inputs)
    if model is None:
        return Estimate(work=number)
    weights = inputs.largest_checkpoint(work.models)
    need, misfits = estimate_fit(weights, work.engine, inputs.capacity)
    if not work.translation:
        # Benchmarks need no engine.
        misfits = ()
    requests = requests_of_task(work, inputs)
    each = work.tasks * requests * model.billions / read.benchmark_requests_per_s
    terms = [f"{work.tasks} tasks of {requests:,} requests"] if work.tasks else []
    if work.translation:
        # The tokens on each side are unknown for a folder.
        pairs = [inputs.text(one) if one.startswith("@") else None for one in work.translation]
        if None in pairs:
            return Estimate(model=model, need=need, misfits=misfits, work=number)
        tokens = sum(one.target for one in pairs if one)
        write = inputs.throughput.write
        each += tokens / write.tokens_per_s_of(model)
        terms.append(f"{format_amount(tokens)} tokens generated, {write.describe(model)}")
    return Estimate(
        model=model,
        gpu_seconds=len(work.models) * each,
        hours_breakdown=f"{len(work.models)} models, each {', '.join(terms)}",
        need=need,
        misfits=misfits,
        work=number,
    )


def requests_of_task(work: EvaluationWork, inputs: EstimateInputs) -> float:
    """Requests that one entry of `tasks` makes."""
    if work.limit is not None:
        return work.limit * REQUESTS_PER_QUESTION
    return inputs.throughput.read.benchmark_requests


def count_requests(work: EvaluationWork, inputs: EstimateInputs) -> float | None:
    """Number of benchmark requests and translated pairs; None if unknown."""
    pairs = [inputs.text(one) for one in work.translation]
    if None in pairs or (work.tasks and work.has_own_tasks):
        return None
    return work.tasks * requests_of_task(work, inputs) + sum(one.rows for one in pairs if one)
