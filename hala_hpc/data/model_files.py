"""Whether a folder holds a whole model, told without loading it."""

import json
import re
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import NO_INPUT, UserError

#: Any one of these is a tokenizer that transformers can load.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
#: `name` or `owner/name`, as the Hugging Face hub allows.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_hub_id(model: str) -> bool:
    """Whether a model is named by its id on the hub, not by a path."""
    return not Path(model).exists() and HUB_ID.fullmatch(model) is not None


def require_model(model: str, setting: str = "model", tokenizer: bool = True) -> None:
    """Raise UserError (66) unless `model` is a whole local model, a hub id or an `@node`.

    `setting` is the word that the message names. Only names, sizes and headers are read.
    """
    if not model.startswith("@") and not is_hub_id(model):
        missing = missing_parts(Path(model).expanduser(), tokenizer)
        if missing:
            raise UserError(f"{setting}={model}: {'; '.join(missing)}", NO_INPUT)


def missing_parts(folder: Path, tokenizer: bool = True) -> list[str]:
    """What keeps a folder from being a whole model, a line each; empty when nothing does."""
    if not folder.exists():
        return ["there is no such folder; give a model folder or a hub id such as owner/name"]
    if not folder.is_dir():
        return ["this is a file; give the folder that holds config.json and the weights"]
    missing = []
    if read_object(folder / "config.json") is None:
        missing.append("no readable config.json")
    if tokenizer and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        missing.append("no tokenizer (tokenizer.json or tokenizer.model)")
    return missing + missing_weights(folder)


def missing_weights(folder: Path) -> list[str]:
    """What is wrong with the weight files of a folder."""
    for name in INDEX_FILES:
        if (folder / name).is_file():
            index = read_object(folder / name) or {}
            files = sorted(set(index.get("weight_map", {}).values()))
            if not files:
                return [f"{name} names no weight files"]
            return [fault for file in files for fault in weight_faults(folder / file)]
    # adapter_model.safetensors and training_args.bin are no weights of a whole model.
    found = [
        path
        for pattern in ("model*.safetensors", "pytorch_model*.bin", "consolidated*.safetensors")
        for path in sorted(folder.glob(pattern))
    ]
    if not found:
        return ["no weights (model.safetensors, or pytorch_model.bin)"]
    return [fault for path in found for fault in weight_faults(path) + lost_parts(path)]


def weight_faults(path: Path) -> list[str]:
    """Whether a weight file is absent, empty or cut short."""
    if not path.is_file():
        return [f"{path.name} is missing"]
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return [] if size else [f"{path.name} is empty"]
    expected = safetensors_bytes(path)
    if expected is None:
        return [f"{path.name} is no safetensors file"]
    if size < expected:
        return [f"{path.name} is cut short: {size} bytes of {expected}"]
    return []


def lost_parts(path: Path) -> list[str]:
    """Whether a file is a part such as `model-00001-of-00004` that came without its index."""
    if re.search(r"-\d+-of-\d+$", path.stem):
        return [f"{path.name} is a part, but its index file is missing"]
    return []


def safetensors_bytes(path: Path) -> int | None:
    """Bytes that the header of a safetensors file promises; None when it has no good header.

    The format: 8 bytes of length (little endian), a JSON header, then the tensors.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # The format's own limit; a longer one is no header.
        if not 2 <= length <= 100_000_000:
            return None
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return None
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return 8 + length + max(ends, default=0)


def read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
