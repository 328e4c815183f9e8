"""Whether a folder holds a whole model, and which files its weights are, without loading it."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.hub import is_hub_id, model_folder

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
#: Where weights may lie, in the order in which transformers and vLLM look: an index that names the
#: files, and the names that files without an index have. adapter_model.safetensors and
#: training_args.bin are no weights of a whole model.
WEIGHTS = (
    ("model.safetensors.index.json", "model*.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model*.bin"),
    ("", "consolidated*.safetensors"),
)


def require_model(model: str, setting: str = "model", tokenizer: bool = True) -> None:
    """Raise UserError (66) unless `model` is a whole local model, a hub id or an `@node`.

    `setting` is the word that the message names. Only names, sizes and headers are read.
    """
    if not model.startswith("@") and not is_hub_id(model):
        missing = missing_parts(Path(model).expanduser(), tokenizer)
        if missing:
            raise UserError(f"{setting}={model}: {'; '.join(missing)}", NO_INPUT)


def require_safetensors(model: str, setting: str = "model") -> None:
    """Raise UserError (66) for a model on the disk whose tensors cannot be read one by one.

    For stages that look at tensors themselves; `require_model` comes before.
    """
    folder = model_folder(model)
    if folder is None:
        return
    # Mistral's consolidated files have tensors with names of their own.
    wrong = [
        path.name
        for path in weight_files(folder)
        if path.suffix != ".safetensors" or path.name.startswith("consolidated")
    ]
    if wrong:
        raise UserError(
            f"{setting}={model}: its weights are in {wrong[0]}, and this stage reads "
            "model.safetensors; load the model with transformers and save it again, which writes "
            "such a file",
            NO_INPUT,
        )


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


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights that would be loaded, in order, even if some are missing."""
    for index, pattern in WEIGHTS:
        if index and (folder / index).is_file():
            return [folder / name for name in indexed_files(folder / index)]
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def indexed_files(index: Path) -> list[str]:
    """The weight files that an index names."""
    return sorted(set((read_object(index) or {}).get("weight_map", {}).values()))


def missing_weights(folder: Path) -> list[str]:
    """What is wrong with the weight files of a folder."""
    files = weight_files(folder)
    named = [name for name, _ in WEIGHTS if name and (folder / name).is_file()]
    if not files:
        if named:
            return [f"{named[0]} names no weight files"]
        return ["no weights (model.safetensors, or pytorch_model.bin)"]
    faults = [fault for path in files for fault in weight_faults(path)]
    return faults if named else faults + [fault for path in files for fault in lost_parts(path)]


def weight_faults(path: Path) -> list[str]:
    """Whether a weight file is absent, empty or cut short."""
    if not path.is_file():
        return [f"{path.name} is missing"]
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return [] if size else [f"{path.name} is empty"]
    header = read_header(path)
    if header is None:
        return [f"{path.name} is no safetensors file"]
    if size < header.file_bytes:
        return [f"{path.name} is cut short: {size} bytes of {header.file_bytes}"]
    return []


def lost_parts(path: Path) -> list[str]:
    """Whether a file is a part such as `model-00001-of-00004` that came without its index."""
    if re.search(r"-\d+-of-\d+$", path.stem):
        return [f"{path.name} is a part, but its index file is missing"]
    return []


class TensorHeader(NamedTuple):
    """Type of a tensor as safetensors writes it, e.g. `BF16` or `F8_E4M3`, and its shape."""

    dtype: str
    shape: tuple[int, ...]


class FileHeader(NamedTuple):
    """What the header of a safetensors file says."""

    tensors: dict[str, TensorHeader]
    file_bytes: int
    """Size of the whole file."""


def read_header(path: Path) -> FileHeader | None:
    """The header of a safetensors file; None when it has no good one.

    The format: 8 bytes of length (little endian), a JSON header, then the tensors.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # The format's own limit; a longer one is no header.
        if not 2 <= length <= 100_000_000:
            return None
        try:
            entries: dict[str, Any] = json.loads(file.read(length))
            entries.pop("__metadata__", None)
            tensors = {
                name: TensorHeader(entry["dtype"], tuple(entry["shape"]))
                for name, entry in entries.items()
            }
            ends = [entry["data_offsets"][1] for entry in entries.values()]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None
    return FileHeader(tensors, 8 + length + max(ends, default=0))


def read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
