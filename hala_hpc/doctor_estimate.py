"""What a recipe will write, told from the sizes of its inputs; rough, and rather too much."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.hub import hub_cache, is_hub_id
from hala_hpc.plan import Step

#: Bytes of a product for each byte of its corpora; a translation stands beside its source, and
#: its letters may take two bytes each. A token is four bytes with its weight, a word has several.
OF_CORPUS = {"translate": 3.0, "filter": 1.5, "tokenize": 2.0, "prepare": 1.0}
#: Bytes of a product for each byte of the model that it is made of; FP8 halves bfloat16.
OF_MODEL = {"quantize": 0.5}
#: Bytes of a checkpoint for each byte of bfloat16 weights: the weights, their float32 copy and two
#: moments, 2 + 4 + 4 + 4 bytes a parameter.
CHECKPOINT = 14 / 2
#: A model's name tells its parameters, e.g. LFM2-1.2B; bfloat16 has two bytes for each.
PARAMETERS = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z])")
BYTES = {"B": 2 * 10**9, "M": 2 * 10**6}
#: Files of a unit and of a worker at most.
FILES_OF_UNIT, FILES_OF_WORKER = 3, 20


@dataclass(frozen=True)
class Estimate:
    """What the missing nodes of a run will write, as far as it can be told beforehand."""

    least_bytes: int
    """Products and the largest node's checkpoints: as if one node ran at a time."""
    most_bytes: int
    """As if all nodes kept their checkpoints at the same time."""
    files: int
    unknown: tuple[str, ...]
    """Inputs whose size nobody knows yet."""


def estimate(steps: Mapping[str, Step], environment: Mapping[str, str]) -> Estimate:
    """What the missing nodes of a plan will write; inputs come first in `steps`."""
    cache, sizes = hub_cache(environment), dict[str, float]()
    products, passing, files = 0.0, [0.0], 0
    unknown: set[str] = set()
    for name, step in steps.items():
        inputs = inputs_of(step, sizes, cache, unknown)
        sizes[name] = product_bytes(step, inputs)
        if step.state != "done":
            products += sizes[name]
            passing.append(checkpoint_bytes(step, sizes[name]))
            files += step.units * FILES_OF_UNIT + step.workers * FILES_OF_WORKER
    least, most = products + max(passing), products + sum(passing)
    return Estimate(int(least), int(most), files, tuple(sorted(unknown)))


def inputs_of(
    step: Step, sizes: Mapping[str, float], cache: Path, unknown: set[str]
) -> dict[str, list[float]]:
    """Bytes of the models and of the corpora that a node takes; notes what nobody knows."""
    found: dict[str, list[float]] = {"model": [], "corpus": []}
    for _, value, reference in step.node.settings.references():
        name = value[1:].partition("/")[0]
        size = sizes.get(name, 0.0) if value.startswith("@") else size_of(value, cache)
        if size is None:
            unknown.add(value)
        found["model" if "model" in reference.kinds else "corpus"].append(size or 0.0)
    return found


def product_bytes(step: Step, inputs: Mapping[str, list[float]]) -> float:
    """Bytes of what a node leaves."""
    stage = step.node.stage
    if stage.produces == "model":
        return OF_MODEL.get(stage.name, 1.0) * max(inputs["model"], default=0.0)
    return OF_CORPUS.get(stage.name, 0.0) * sum(inputs["corpus"])


def checkpoint_bytes(step: Step, weights: float) -> float:
    """Bytes of the checkpoints of a training: those it keeps, and one that is being written."""
    kept = int(getattr(step.node.settings, "keep_checkpoints", 0))
    if not kept or getattr(step.node.settings, "lora_rank", False):
        return 0.0
    return float((kept + 1) * CHECKPOINT * weights)


def size_of(value: str, cache: Path) -> float | None:
    """Bytes of a local path or of what the hub cache holds; of a model by its name, else None."""
    if not is_hub_id(value):
        path = Path(value).expanduser()
        return bytes_below(path) if path.exists() else None
    for kind in ("models", "datasets"):
        blobs = cache / f"{kind}--{value.replace('/', '--')}" / "blobs"
        if blobs.is_dir():
            return bytes_below(blobs)
    named = PARAMETERS.search(value)
    return float(named[1]) * BYTES[named[2].upper()] if named else None


def bytes_below(path: Path) -> float:
    """Bytes of a file, or of all files under a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return float(sum(file.stat().st_size for file in files if file.is_file()))
