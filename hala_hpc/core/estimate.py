"""What nodes will take and leave, estimated before their inputs exist: between plan and stages.

Rough figures; `throughput.toml` says how good they are. None stands for what is unknown. These are
named tuples and not dataclasses, which take a command line five times as long to define.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

BILLION = 1e9
#: Tokens of a row of which nothing else is known (assumed).
DEFAULT_TOKENS_PER_ROW = 250


class TextAmount(NamedTuple):
    """Rows and tokens of a corpus or of token files."""

    rows: float
    source: float
    """Tokens of the texts as they came."""
    target: float = 0.0
    """Tokens of their translations."""
    sequences: float = 0.0
    """Into how many sequences the rows are packed; 0 where each row is one."""
    texts_of_row: float = 1.0
    """Pairs of source and target that a row gives a translator to learn from: of a translated
    conversation one for each of its messages."""

    @property
    def tokens(self) -> float:
        """Tokens of both sides."""
        return self.source + self.target

    def times(self, share: float) -> "TextAmount":
        """This share of it."""
        return self._replace(
            rows=self.rows * share,
            source=self.source * share,
            target=self.target * share,
            sequences=self.sequences * share,
        )


class ModelSize(NamedTuple):
    """What the speed of a model depends on."""

    billions: float
    """Weights."""
    fp8: bool = False


class Checkpoint(NamedTuple):
    """The weights of a model, as they lie on the disk or will."""

    weight_bytes: float
    config: Mapping[str, Any] | None = None
    """Its config.json, or what the shipped table tells of it; None where only its size is known."""
    is_compressed: bool = False
    is_fp8: bool = False
    """Whether its weights are compressed to FP8 numbers."""
    is_pickled: bool = False
    """Whether its weights are no safetensors."""


class Amount(NamedTuple):
    """What an input holds, or what a node will leave."""

    text: TextAmount | None = None
    model: ModelSize | None = None
    size_bytes: float | None = 0.0
    checkpoint: Checkpoint | None = None
    """Of a model whose size is known."""


class MachineCapacity(NamedTuple):
    """What a job of a node gets on each machine; None for what nobody knows."""

    host_bytes: float | None = None
    gpus: int | None = None
    gpu_bytes: float | None = None
    """Memory of each GPU: the most that a card of its name has."""
    gpu_name: str = ""


class MemoryNeed(NamedTuple):
    """The least memory that a node can do with; None where nobody knows."""

    host_bytes: float | None = None
    """On each machine."""
    gpu_bytes: float | None = None
    """On each GPU."""
    breakdown: str = ""
    """What it is the sum of."""


class CountedResult(NamedTuple):
    """What a finished node has counted of its own result."""

    rows: int
    tokens_out: int = 0


class Estimate(NamedTuple):
    """What a node will take and leave."""

    output: Amount = Amount()
    model: ModelSize | None = None
    """The largest model that it reads or makes; its start takes longer with a larger one."""
    gpu_seconds: float | None = None
    """Seconds of one GPU of the shipped table, without the start of the jobs."""
    checkpoint_bytes: float = 0.0
    """What lies beside the result while the node runs."""
    host_seconds: float | None = None
    """Seconds of a job in which no GPU works."""
    hours_breakdown: str = ""
    """What rows and seconds follow from, without the start of the jobs."""
    need: MemoryNeed = MemoryNeed()
    misfits: tuple[str, ...] = ()
    """Why the node cannot run in the room that its jobs get, each with setting, value and cure."""
    work: float | None = None
    """What the time of the node grows with: rows, tokens or requests. Only the ratio of two nodes
    of one stage tells something; None if unknown or where nothing grows."""


def interpolate(points: Sequence[float], values: Sequence[float], place: float) -> float:
    """The value at a place between rising points, on a straight line; the end's beyond an end."""
    if place <= points[0]:
        return float(values[0])
    if place >= points[-1]:
        return float(values[-1])
    above = next(index for index, point in enumerate(points) if point > place)
    low, high = points[above - 1], points[above]
    share = (place - low) / (high - low)
    return float(values[above - 1] * (1 - share) + values[above] * share)


class WriteSpeed(NamedTuple):
    """Text that a model writes: `[write]` of the table."""

    billions: Sequence[float]
    tokens_per_s: Sequence[float]
    run_share: float
    lowest: float
    highest: float
    fp8_speedup: float
    tokens_per_source_token: float

    def tokens_per_s_of(self, model: ModelSize) -> float:
        """Tokens/s that one GPU writes: between the published points, then as 1 / weights."""
        rate = interpolate(self.billions, self.tokens_per_s, model.billions)
        beyond = max(1.0, model.billions / self.billions[-1])
        return self.run_share * (self.fp8_speedup if model.fp8 else 1.0) * rate / beyond

    def describe(self, model: ModelSize) -> str:
        """`461/s (300 to 600)`: tokens/s of a GPU, and between what they are thought to lie."""
        rate = self.tokens_per_s_of(model)
        low, high = (format_amount(rate * share) for share in (self.lowest, self.highest))
        return f"{format_amount(rate)}/s ({low} to {high})"


class ReadSpeed(NamedTuple):
    """Text that a model only reads, as a judge and benchmarks do: `[read]` of the table."""

    peak_share: float
    judge_prompt_tokens: float
    accepted_share: float
    benchmark_requests_per_s: float
    benchmark_requests: float


class TrainSpeed(NamedTuple):
    """Training: `[train]` of the table."""

    billions: Sequence[float]
    peak_shares: Sequence[float]
    attention_peak_share: float
    checkpointing_cost: float
    overlapped: float

    def peak_share_of(self, billions: float) -> float:
        """Share of the GPU's peak in the products of a model with so many weights."""
        return interpolate(self.billions, self.peak_shares, billions)


class Network(NamedTuple):
    """What each GPU sends and gets: `[network]` of the table."""

    in_node_bytes_per_s: float
    between_nodes_bytes_per_s: float

    def bytes_per_s(self, nodes: int) -> float:
        """Of each GPU where so many nodes work together."""
        return self.between_nodes_bytes_per_s if nodes > 1 else self.in_node_bytes_per_s


class StartCost(NamedTuple):
    """What a job costs before it works: `[start]` of the table."""

    seconds: float
    seconds_per_billion: float
    quantize_seconds_per_billion: float


class DataSet(NamedTuple):
    """Size of a data set of the hub: `[data.<name>]` of the table."""

    rows: float
    tokens: float
    """Of a row."""


class Throughput(NamedTuple):
    """The shipped table of published speeds and sizes, `throughput.toml`."""

    write: WriteSpeed
    read: ReadSpeed
    train: TrainSpeed
    network: Network
    start: StartCost
    peak_flops: float
    """Of the GPU that the speeds are of."""
    models: Mapping[str, float]
    """Billions of weights by hub id, where the name does not tell them."""
    shapes: Mapping[str, Mapping[str, Any]]
    """By hub id keys of config.json, for models that are not fetched."""
    data_sets: Mapping[str, DataSet]
    """By hub id, or by `id:split`."""

    def read_seconds(self, flops: float) -> float:
        """GPU seconds of a model that reads."""
        return float(flops / (self.peak_flops * self.read.peak_share))

    def data_set(self, name: str, split: str) -> TextAmount | None:
        """Rows and tokens of a split of a data set of the hub."""
        known = self.data_sets.get(f"{name}:{split}") or self.data_sets.get(name)
        return TextAmount(known.rows, known.rows * known.tokens) if known else None


class EstimateInputs(NamedTuple):
    """What is known of the inputs of a node."""

    throughput: Throughput
    amounts: Mapping[str, Amount]
    """By reference, as the settings name it."""
    counted: CountedResult | None = None
    """What the node itself has counted, once it is finished."""
    capacity: MachineCapacity = MachineCapacity()
    """What its jobs get."""

    def text(self, reference: str) -> TextAmount | None:
        """The text behind a reference; what a node rejected is not known beforehand."""
        return self.amounts[reference].text

    def size_bytes(self, references: Iterable[str]) -> float:
        """Bytes of some inputs; those of unknown size count nothing."""
        return sum(self.amounts[one].size_bytes or 0.0 for one in references)

    def checkpoint(self, reference: str) -> Checkpoint | None:
        """The weights of a model; None where their size is not known."""
        return self.amounts[reference].checkpoint

    def largest_checkpoint(self, references: Iterable[str]) -> Checkpoint | None:
        """The one of most bytes among some models; None if one is unknown."""
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
        """What was expected of the node, scaled to the rows that it has counted."""
        if not self.counted or not self.counted.rows or (expected and not expected.rows):
            return expected
        rows = self.counted.rows
        if expected:
            return expected.times(rows / expected.rows)
        return TextAmount(rows, rows * DEFAULT_TOKENS_PER_ROW)


def format_amount(number: float) -> str:
    """`405K`, `3.7B` or `12`: a number with no more digits than an estimate deserves."""
    for size, letter in ((BILLION, "B"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def format_hours(hours: float) -> str:
    """Hours as a number with no more digits than an estimate deserves."""
    return f"{hours:.2f}" if hours < 1 else f"{hours:.1f}" if hours < 10 else f"{hours:,.0f}"
