"""GPU hours of a node by the shipped table: how much text, how large a model, how fast a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hala_hpc.amounts import Amount, Table
from hala_hpc.core.places import PACKAGE, read_toml
from hala_hpc.doctor_estimate import size_of
from hala_hpc.plan import Step

HOUR_S = 3600
BFLOAT16_BYTES = 2
BILLION = 1e9
#: Weights of a model that a recipe makes by itself, in billions.
TINY = 0.001


@cache
def table() -> Table:
    """The shipped figures."""
    return read_toml(PACKAGE / "throughput.toml")


@dataclass(frozen=True)
class Model:
    """What a node's speed depends on in its model."""

    billions: float
    """Weights; of several models those of the largest."""
    fp8: bool = False


def models_of(steps: Mapping[str, Step], cache: Path) -> dict[str, Model | None]:
    """The model of every node, inputs first; None where its size is not known."""
    found: dict[str, Model | None] = {}
    for name, step in steps.items():
        named = [
            model_of(value, found, cache)
            for _, value, reference in step.node.settings.references()
            if reference.kinds == ("model",)
        ]
        known = [model for model in named if model is not None]
        if step.node.stage.name == "tiny":
            known, named = [Model(TINY)], [Model(TINY)]
        whole = len(known) == len(named) and bool(known)
        largest = max((model.billions for model in known), default=0.0)
        fp8 = any(model.fp8 for model in known) or is_compressed(step)
        found[name] = Model(largest, fp8) if whole else None
    return found


def model_of(value: str, found: Mapping[str, Model | None], cache: Path) -> Model | None:
    """The model behind a reference: that of a node, one of the table, or told by name or bytes."""
    if value.startswith("@"):
        return found.get(value[1:].partition("/")[0])
    named = table()["models"].get(value)
    if named is not None:
        return Model(named)
    size = size_of(value, cache)
    return None if size is None else Model(size / BFLOAT16_BYTES / BILLION)


def is_compressed(step: Step) -> bool:
    """Whether a node makes a model of FP8 weights."""
    return getattr(step.node.settings, "scheme", "none") != "none"


def gpus(step: Step) -> int:
    """GPUs of one worker over all its machines."""
    asked = step.node.settings.resources
    return asked.nodes * asked.gpus_per_node


def speed(step: Step) -> float:
    """How fast the GPUs of a node are beside those of the table, by their peaks."""
    from hala_hpc.engines.model_flops import PEAK_FLOPS

    kind = step.node.settings.resources.options.get("gpu_type", "").upper()
    peak = next((flops for word, flops in PEAK_FLOPS.items() if kind and word.upper() in kind), 0)
    return float((peak or table()["gpu"]["peak_flops"]) / table()["gpu"]["peak_flops"])


def gpu_hours_of(
    step: Step, model: Model | None, passed: Mapping[str, Amount | None]
) -> float | None:
    """GPU hours of a whole node by the table; None where its model or its rows are not known."""
    work = WORK.get(step.node.stage.name)
    seconds = work(step, model, passed) if work and model else None
    if model is None or seconds is None:
        return None
    start = table()["start"]
    each = start["seconds"] + model.billions * start["seconds_per_billion"]
    return float(seconds / speed(step) + each * gpus(step) * step.workers) / HOUR_S


def quantize_seconds(step: Step, model: Model, _: Mapping[str, Amount | None]) -> float | None:
    """GPU seconds in which the weights of a model are read, converted and written."""
    return float(model.billions * table()["start"]["quantize_seconds_per_billion"] * gpus(step))


def translate_seconds(
    step: Step, model: Model, passed: Mapping[str, Amount | None]
) -> float | None:
    """GPU seconds in which a model writes the translations of a corpus."""
    made = passed[step.name]
    return made.target / written_per_s(model.billions, model.fp8) if made else None


def filter_seconds(step: Step, model: Model, passed: Mapping[str, Amount | None]) -> float | None:
    """GPU seconds in which a judge reads all pairs and says a word of each."""
    settings: Any = step.node.settings
    kept = passed[step.name]
    if kept is None:
        return None
    share = settings.target_share or table()["read"]["kept"]
    tokens = (kept.tokens + kept.rows * table()["read"]["judge_prompt_tokens"]) / share
    flops = 2 * model.billions * BILLION * tokens
    return float(flops / (table()["gpu"]["peak_flops"] * table()["read"]["peak_share"]))


def sft_seconds(step: Step, model: Model, passed: Mapping[str, Amount | None]) -> float | None:
    """GPU seconds of a training: 6 FLOPs a weight and token."""
    settings: Any = step.node.settings
    tokens = passed.get(settings.tokens[1:]) if settings.tokens.startswith("@") else None
    if tokens is None or not tokens.rows:
        return None
    passes = settings.epochs
    if settings.max_steps:
        passes = settings.max_steps * settings.global_batch_size / tokens.rows
    flops = 6 * model.billions * BILLION * tokens.source * passes
    if settings.gradient_checkpointing:
        flops *= table()["train"]["checkpointing_cost"]
    return float(flops / (table()["gpu"]["peak_flops"] * table()["train"]["peak_share"]))


def evaluate_seconds(step: Step, model: Model, passed: Mapping[str, Amount | None]) -> float | None:
    """GPU seconds in which models answer benchmarks and translate held-out pairs."""
    settings: Any = step.node.settings
    read = table()["read"]
    requests = read["benchmark_requests"] if settings.limit is None else settings.limit * 4
    each = len(settings.tasks) * requests * model.billions / read["benchmark_requests_per_s"]
    if settings.translation:
        name = settings.translation[1:] if settings.translation.startswith("@") else ""
        pairs = passed.get(name)
        if pairs is None:
            return None
        each += pairs.target / written_per_s(model.billions, model.fp8)
    return float(len(settings.models) * each)


WORK = {
    "quantize": quantize_seconds,
    "translate": translate_seconds,
    "filter": filter_seconds,
    "sft": sft_seconds,
    "evaluate": evaluate_seconds,
}


def written_per_s(billions: float, fp8: bool) -> float:
    """Tokens/s that one GPU writes with a model: between the published points, then 1/weights."""
    write = table()["write"]
    sizes, rates = write["billions"], write["tokens_per_s"]
    gain = write["fp8_speedup"] if fp8 else 1.0
    if billions >= sizes[-1]:
        return float(gain * rates[-1] * sizes[-1] / billions)
    above = next(index for index, size in enumerate(sizes) if size > billions)
    if above == 0:
        return float(gain * rates[0])
    low, high = sizes[above - 1], sizes[above]
    share = (billions - low) / (high - low)
    return float(gain * (rates[above - 1] * (1 - share) + rates[above] * share))
