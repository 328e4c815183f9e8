"""Estimates of what nodes will take and produce, made before their inputs exist.

Used by the plan and by the stages. Rough figures: `throughput.toml` says how accurate they are.
None means unknown. These are named tuples: a command line takes five times as long to define
dataclasses.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

BILLION = 1e9
#: Tokens of a row with no other information (assumed).
DEFAULT_TOKENS_PER_ROW = 250


class TextAmount(NamedTuple):
    """Rows and tokens of a corpus or of token files."""

    rows: float
    source: float
    """Tokens of the original texts."""
    target: float = 0.0
    """Tokens of their translations."""
    sequences: float = 0.0
    """Number of sequences that the rows are packed into; 0 if each row is one."""
    texts_of_row: float = 1.0
    """Pairs of source and target that a translator can be trained on from one row. A translated
    conversation gives one pair for each of its messages."""

    @property
    def tokens(self) -> float:
        """Tokens of both sides."""
        return self.source + self.target

    def times(self, share: float) -> "TextAmount":
        """This share of the rows, tokens and sequences."""
        return self._replace(
            rows=self.rows * share,
            source=self.source * share,
            target=self.target * share,
            sequences=self.sequences * share,
        )


class ModelSize(NamedTuple):
    """What the speed of a model depends on."""

    billions: float
    """Billions of weights."""
    fp8: bool = False


class Checkpoint(NamedTuple):
    """The weights of a model, as they are on the disk or will be."""

    weight_bytes: float
    config: Mapping[str, Any] | None = None
    """Its config.json, or its entry in the shipped table; None if only its size is known."""
    is_compressed: bool = False
    is_fp8: bool = False
    """Whether its weights are compressed to FP8."""
    is_pickled: bool = False
    """Whether its weights are not in safetensors files."""


class Amount(NamedTuple):
    """What an input holds, or what a node will produce."""

    text: TextAmount | None = None
    model: ModelSize | None = None
    size_bytes: float | None = 0.0
    checkpoint: Checkpoint | None = None
    """Weights of a model whose size is known."""


class MachineCapacity(NamedTuple):
    """What a job of a node gets on each machine; None if unknown."""

    host_bytes: float | None = None
    gpus: int | None = None
    gpu_bytes: float | None = None
    """Memory of each GPU: the most that a card with its name has."""
    gpu_name: str = ""


class MemoryNeed(NamedTuple):
    """The minimum memory that a node can run with; None if unknown."""

    host_bytes: float | None = None
    """On each machine."""
    gpu_bytes: float | None = None
    """On each GPU."""
    breakdown: str = ""
    """The terms that it is the sum of."""


class CountedResult(NamedTuple):
    """Counts that a finished node has of its own result."""

    rows: int
    tokens_out: int = 0


class Estimate(NamedTuple):
    """What a node will take and produce."""

    output: Amount = Amount()
    model: ModelSize | None = None
    """The largest model that it reads or makes; a larger one takes longer to start."""
    gpu_seconds: float | None = None
    """Seconds of one GPU of the shipped table, without the startup of the jobs."""
    checkpoint_bytes: float = 0.0
    """Disk space beside the result while the node runs."""
    host_seconds: float | None = None
    """Seconds of a job in which no GPU works."""
    hours_breakdown: str = ""
    """How rows and seconds are calculated, without the startup of the jobs."""
    need: MemoryNeed = MemoryNeed()
    misfits: tuple[str, ...] = ()
    """Why the node cannot run in the capacity that its jobs get, each with setting, value and
    fix."""
    work: float | None = None
    """What the run time of the node grows with: rows, tokens or requests. Only the ratio of two
    nodes of one stage is meaningful; None if unknown or if nothing grows."""


def interpolate(points: Sequence[float], values: Sequence[float], place: float) -> float:
    """Interpolate linearly between rising points; beyond an end, the value of that end."""
    if place <= points[0]:
        return float(values[0])
    if place >= points[-1]:
        return float(values[-1])
    above = next(index for index, point in enumerate(points) if point > place)
    low, high = points[above - 1], points[above]
    share = (place - low) / (high - low)
    return float(values[above - 1] * (1 - share) + values[above] * share)


class WriteSpeed(NamedTuple):
    """Speed of text generation: `[write]` of the table."""

    billions: Sequence[float]
    tokens_per_s: Sequence[float]
    run_share: float
    lowest: float
    highest: float
    fp8_speedup: float
    tokens_per_source_token: float

    def tokens_per_s_of(self, model: ModelSize) -> float:
        """Tokens/s that one GPU generates: between the published points, then as 1 / weights."""
        rate = interpolate(self.billions, self.tokens_per_s, model.billions)
        beyond = max(1.0, model.billions / self.billions[-1])
        return self.run_share * (self.fp8_speedup if model.fp8 else 1.0) * rate / beyond

    def describe(self, model: ModelSize) -> str:
        """`461/s (300 to 600)`: tokens/s of a GPU, and the range in which they are expected."""
        rate = self.tokens_per_s_of(model)
        low, high = (format_amount(rate * share) for share in (self.lowest, self.highest))
        return f"{format_amount(rate)}/s ({low} to {high})"


class ReadSpeed(NamedTuple):
    """Speed of a model that only reads, as a judge and benchmarks do: `[read]` of the table."""

    peak_share: float
    judge_prompt_tokens: float
    accepted_share: float
    benchmark_requests_per_s: float
    benchmark_requests: float


class TrainSpeed(NamedTuple):
    """Speed of training: `[train]` of the table."""

    billions: Sequence[float]
    peak_shares: Sequence[float]
    attention_peak_share: float
    checkpointing_cost: float
    overlapped: float

    def peak_share_of(self, billions: float) -> float:
        """Share of the GPU's peak in the matrix products of a model with so many weights."""
        return interpolate(self.billions, self.peak_shares, billions)


class Network(NamedTuple):
    """What each GPU sends and receives: `[network]` of the table."""

    in_node_bytes_per_s: float
    between_nodes_bytes_per_s: float

    def bytes_per_s(self, nodes: int) -> float:
        """Bandwidth of each GPU if so many nodes work together."""
        return self.between_nodes_bytes_per_s if nodes > 1 else self.in_node_bytes_per_s


class StartCost(NamedTuple):
    """What a job costs before it starts to work: `[start]` of the table."""

    seconds: float
    seconds_per_billion: float
    quantize_seconds_per_billion: float


class DataSet(NamedTuple):
    """Size of a data set of the hub: `[data.<name>]` of the table."""

    rows: float
    tokens: float
    """Tokens of a row."""


class Throughput(NamedTuple):
    """The shipped table of published speeds and sizes, `throughput.toml`."""

    write: WriteSpeed
    read: ReadSpeed
    train: TrainSpeed
    network: Network
    start: StartCost
    peak_flops: float
    """Peak of the GPU that the speeds belong to."""
    models: Mapping[str, float]
    """Billions of weights by hub id, if the name does not contain them."""
    shapes: Mapping[str, Mapping[str, Any]]
    """Keys of config.json by hub id, for models that are not fetched."""
    data_sets: Mapping[str, DataSet]
    """By hub id, or by `id:split`."""

    def read_seconds(self, flops: float) -> float:
        """GPU seconds of a model that only reads."""
        return float(flops / (self.peak_flops * self.read.peak_share))

    def data_set(self, name: str, split: str) -> TextAmount | None:
        """Rows and tokens of a split of a data set of the hub."""
        known = self.data_sets.get(f"{name}:{split}") or self.data_sets.get(name)
        return TextAmount(known.rows, known.rows * known.tokens) if known else None


class EstimateInputs(NamedTuple):
    """What is known about the inputs of a node."""

    throughput: Throughput
    amounts: Mapping[str, Amount]
    """By reference, as the settings name it."""
    counted: CountedResult | None = None
    """What the node itself has counted, once it is finished."""
    capacity: MachineCapacity = MachineCapacity()
    """What its jobs get."""

    def text(self, reference: str) -> TextAmount | None:
        """The text behind a reference; rows that a node will reject are not known beforehand."""
        return self.amounts[reference].text

    def size_bytes(self, references: Iterable[str]) -> float:
        """Bytes of some inputs; those of unknown size count as 0."""
        return sum(self.amounts[one].size_bytes or 0.0 for one in references)

    def checkpoint(self, reference: str) -> Checkpoint | None:
        """The weights of a model; None if their size is unknown."""
        return self.amounts[reference].checkpoint

    def largest_checkpoint(self, references: Iterable[str]) -> Checkpoint | None:
        """The largest checkpoint among some models, in bytes; None if one is unknown."""
        found = [self.checkpoint(one) for one in references]
        known = [one for one in found if one is not None]
        if not known or len(known) < len(found):
            return None
        return max(known, key=lambda one: one.weight_bytes)

    def largest_model(self, references: Iterable[str]) -> ModelSize | None:
        """The largest of some models, in FP8 if one of them is; None if one is unknown."""
        found = [self.amounts[one].model for one in references]
        known = [model for model in found if model is not None]
        if not known or len(known) < len(found):
            return None
        return ModelSize(max(one.billions for one in known), any(one.fp8 for one in known))

    def corrected(self, expected: TextAmount | None) -> TextAmount | None:
        """Scale what was expected of the node to the rows that it has counted."""
        if not self.counted or not self.counted.rows or (expected and not expected.rows):
            return expected
        rows = self.counted.rows
        if expected:
            return expected.times(rows / expected.rows)
        return TextAmount(rows, rows * DEFAULT_TOKENS_PER_ROW)


def format_amount(number: float) -> str:
    """Format a number as `405K`, `3.7B` or `12`, with no more digits than an estimate deserves."""
    for size, letter in ((BILLION, "B"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def format_hours(hours: float) -> str:
    """Format hours with no more digits than an estimate deserves."""
    return f"{hours:.2f}" if hours < 1 else f"{hours:.1f}" if hours < 10 else f"{hours:,.0f}"
