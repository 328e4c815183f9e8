"""Estimate resources and output of the nodes of a plan with each stage's estimate; inputs first.

Finished results are counted and files on the disk are measured. The rest is from published figures.
What a run writes to the disk is their sum: rough, and rather too much.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.estimate import (
    BILLION,
    DEFAULT_TOKENS_PER_ROW,
    Amount,
    Checkpoint,
    CountedResult,
    DataSet,
    Estimate,
    EstimateInputs,
    MachineCapacity,
    ModelSize,
    Network,
    ReadSpeed,
    StartCost,
    TextAmount,
    Throughput,
    TrainSpeed,
    WriteSpeed,
)
from hala_hpc.core.hub import (
    fetched_commit,
    hub_cache,
    is_hub_id,
    parse_hub_reference,
    repository_folder,
)
from hala_hpc.core.paths import read_toml
from hala_hpc.engines.models.gpus import max_memory_gb
from hala_hpc.engines.models.memory import GB, count_weights, read_checkpoint

#: Bytes of an English token, and compression of text in Parquet (about a third); roughly.
BYTES_OF_TOKEN = 4
PARQUET_PACKING = 3
BFLOAT16_BYTES = 2
#: Rows of larger files are estimated from their bytes.
COUNTED_BYTES = 16_000_000
#: Parameters in the name of a model, e.g. LFM2-1.2B; bfloat16 has two bytes for each.
PARAMETERS = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z])")
BYTES = {"B": BFLOAT16_BYTES * 10**9, "M": BFLOAT16_BYTES * 10**6}
#: Maximum number of files of a unit and of a worker.
FILES_OF_UNIT, FILES_OF_WORKER = 3, 20


class PlanEstimate(NamedTuple):
    """Estimates of all nodes of a plan."""

    nodes: Mapping[str, Estimate]
    outside: Mapping[str, Amount]
    """What the plan reads from the disk and the hub, by path or hub id."""


@cache
def shipped_throughput() -> Throughput:
    """Read the shipped table of speeds and sizes."""
    table = read_toml(Path(__file__).with_name("throughput.toml"))
    return Throughput(
        write=WriteSpeed(**table["write"]),
        read=ReadSpeed(**table["read"]),
        train=TrainSpeed(**table["train"]),
        network=Network(**table["network"]),
        start=StartCost(**table["start"]),
        peak_flops=table["gpu"]["peak_flops"],
        models=table["models"],
        shapes=table["shapes"],
        data_sets={name: DataSet(d["rows"], d["tokens"]) for name, d in table["data"].items()},
    )


def estimate_plan(
    steps: Mapping[str, Step],
    environment: Mapping[str, str],
    machine_bytes: float | None = None,
) -> PlanEstimate:
    """Estimate each node of a plan; inputs come first in `steps`.

    `environment` names the hub cache. `machine_bytes` is the memory of this machine if jobs run on
    it, whatever they request.
    """
    throughput, hub = shipped_throughput(), hub_cache(environment)
    nodes: dict[str, Estimate] = {}
    outside: dict[str, Amount] = {}
    for name, step in steps.items():
        amounts: dict[str, Amount] = {}
        for _, value, _ in step.node.settings.references():
            if value.startswith("@"):
                amounts[value] = file_of_node(value, steps) or left_by_node(value, nodes)
                continue
            if value not in outside:
                outside[value] = amount_of(value, hub, throughput)
            amounts[value] = outside[value]
        room = MachineCapacity(machine_bytes) if machine_bytes else room_of(step)
        known = EstimateInputs(throughput, amounts, counted_by(step), room)
        nodes[name] = step.stage().estimate(known) or Estimate()
    return PlanEstimate(nodes, outside)


def room_of(step: Step) -> MachineCapacity:
    """What a job of a node requests, and the maximum memory of such GPUs."""
    resources = step.node.settings.resources
    name = resources.options.get("gpu_type", "")
    gpu_gb = max_memory_gb(name)
    # The option `mem` is passed on to the scheduler as it is.
    host = None if "mem" in resources.options else float(resources.mem_gb * GB)
    return MachineCapacity(host, resources.gpus_per_node, gpu_gb * GB if gpu_gb else None, name)


def file_of_node(reference: str, steps: Mapping[str, Step]) -> Amount | None:
    """What `@node/path` holds, measured on the disk; None if it does not exist yet."""
    name, _, rest = reference[1:].partition("/")
    path = steps[name].artifact.output / rest if rest and name in steps else None
    if path is None or not path.exists():
        return None
    text, size = measure_files(path)
    return Amount(text, None, size)


def left_by_node(reference: str, nodes: Mapping[str, Estimate]) -> Amount:
    """Output of `@node`; the text of `@node/path` is unknown."""
    name, _, rest = reference[1:].partition("/")
    whole = nodes[name].output if name in nodes else Amount()
    return whole._replace(text=None) if rest else whole


def counted_by(step: Step) -> CountedResult | None:
    """The counts of a finished node."""
    summary = step.artifact.summary() if step.state == "done" else None
    return CountedResult(summary.rows_out, summary.tokens_out) if summary else None


def amount_of(value: str, hub: Path, table: Throughput) -> Amount:
    """What a path or hub id holds: measured on the disk, else by the table or the model's name."""
    text, size, folder, config = None, None, None, None
    path = Path(value).expanduser()
    if path.exists():
        text, size = measure_files(path)
        folder = path if path.is_dir() else None
    elif is_hub_id(value):
        name, revision = parse_hub_reference(value)
        size = size_on_hub(name, hub, table.models)
        config = table.shapes.get(name)
        repository = repository_folder(hub, "models", name)
        commit = fetched_commit(repository, revision)
        folder = repository / "snapshots" / commit if commit else None
    weights = read_checkpoint(folder) if folder else None
    if weights and (number := count_weights(weights)):
        return Amount(text, ModelSize(number / BILLION, weights.is_fp8), size, weights)
    if size is None:
        return Amount(text, None, None)
    model = ModelSize(size / BFLOAT16_BYTES / BILLION)
    # A path without a model was measured as files of any kind.
    published = None if path.exists() else Checkpoint(size, config)
    return Amount(text, model, size, weights or published)


def measure_files(path: Path) -> tuple[TextAmount, float]:
    """Measure bytes of a file or of all files under a folder, with rows and tokens of texts."""
    rows = tokens = size = 0.0
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            bytes_ = file.stat().st_size
            packing = PARQUET_PACKING if file.suffix in (".parquet", ".gz") else 1
            found = bytes_ * packing / BYTES_OF_TOKEN
            rows += lines_in(file) or found / DEFAULT_TOKENS_PER_ROW
            tokens += found
            size += bytes_
    return TextAmount(rows, tokens), size


def lines_in(file: Path) -> int:
    """Count the lines of a small JSONL file; 0 for other files."""
    if file.suffix != ".jsonl" or file.stat().st_size > COUNTED_BYTES:
        return 0
    return file.read_bytes().count(b"\n")


def size_on_hub(name: str, hub: Path, models: Mapping[str, float]) -> float | None:
    """Bytes of a hub id in the hub cache; else, of a model, by the table or by its name."""
    for kind in ("models", "datasets"):
        blobs = repository_folder(hub, kind, name) / "blobs"
        if blobs.is_dir():
            return measure_files(blobs)[1]
    if name in models:
        return models[name] * BILLION * BFLOAT16_BYTES
    match = PARAMETERS.search(name)
    return float(match[1]) * BYTES[match[2].upper()] if match else None


@dataclass(frozen=True)
class DiskEstimate:
    """Estimate of what the missing nodes of a run will write."""

    min_bytes: int
    """Results, and the largest node's checkpoints: as if one node ran at a time."""
    max_bytes: int
    """As if all nodes kept their checkpoints at the same time."""
    files: int
    unknown: tuple[str, ...]
    """Inputs of unknown size."""


def estimate_disk(steps: Mapping[str, Step], environment: Mapping[str, str]) -> DiskEstimate:
    """Estimate what the missing nodes of a plan will write; inputs come first in `steps`."""
    plan = estimate_plan(steps, environment)
    products, passing, files = 0.0, [0.0], 0
    for name, step in steps.items():
        if step.state != "done":
            estimate = plan.nodes[name]
            products += estimate.output.size_bytes or 0.0
            passing.append(estimate.checkpoint_bytes)
            files += step.units * FILES_OF_UNIT + step.workers * FILES_OF_WORKER
    min_bytes, max_bytes = products + max(passing), products + sum(passing)
    unknown = sorted(name for name, amount in plan.outside.items() if amount.size_bytes is None)
    return DiskEstimate(int(min_bytes), int(max_bytes), files, tuple(unknown))
