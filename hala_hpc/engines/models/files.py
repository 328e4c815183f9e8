"""The files of a model folder: whether it is whole, and what a made model takes over from another.

Nothing is loaded: names, sizes, JSON files and the headers of safetensors files are read.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.files import read_json, write_json
from hala_hpc.core.hub import is_hub_id, is_hub_offline, model_folder, parse_hub_reference

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
WEIGHT_PATTERNS = (
    ("model.safetensors.index.json", "model*.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model*.bin"),
    ("", "consolidated*.safetensors"),
)
#: Files of a tokenizer beside its vocabulary, and how the model is asked to answer.
TOKENIZER_EXTRA_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
#: Keys of a config that tell of the weights as they were, not of the architecture.
WEIGHT_KEYS = ("torch_dtype", "dtype", "quantization_config", "transformers_version")


def require_model(model: str, setting: str = "model", tokenizer: bool = True) -> None:
    """Raise UserError (66) unless `model` is a whole local model, a hub id or an `@node`.

    `setting` is the word that the message names. Only names, sizes and headers are read.
    """
    if not model.startswith("@") and not is_hub_id(model):
        missing = missing_parts(Path(model).expanduser(), tokenizer)
        if missing:
            raise UserError(f"{setting}={model}: {'; '.join(missing)}", NO_INPUT)


def require_safetensors(place: str | Path, setting: str) -> None:
    """Raise UserError (66) for a model on the disk whose tensors cannot be read one by one.

    `place`: what the inputs of the stage say; nothing is known of what is no folder yet. `named`:
    `model=owner/name`, as the setting has it. For stages that look at tensors themselves;
    `require_model` comes before.
    """
    folder = find_folder(place)
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
            f"{setting}: its weights are in {wrong[0]}, and this stage reads "
            "model.safetensors; load the model with transformers and save it again, which writes "
            "such a file",
            NO_INPUT,
        )


def find_folder(place: str | Path) -> Path | None:
    """The folder at a path that the inputs of a stage name; None where there is none yet."""
    folder = Path(place).expanduser()
    return folder if folder.is_dir() else None


def missing_parts(folder: Path, tokenizer: bool = True, weights: bool = True) -> list[str]:
    """What keeps a folder from being a whole model, a line each; empty when nothing does.

    Without `tokenizer` or `weights` these may be missing.
    """
    if not folder.exists():
        return ["there is no such folder; give a model folder or a hub id such as owner/name"]
    if not folder.is_dir():
        return ["this is a file; give the folder that holds config.json and the weights"]
    missing = []
    if read_object(folder / "config.json") is None:
        missing.append("no readable config.json")
    if tokenizer and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        missing.append("no tokenizer (tokenizer.json or tokenizer.model)")
    return missing + (missing_weights(folder) if weights else [])


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights that would be loaded, in order, even if some are missing."""
    for index, pattern in WEIGHT_PATTERNS:
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
    indexes = [name for name, _ in WEIGHT_PATTERNS if name and (folder / name).is_file()]
    if not files:
        if indexes:
            return [f"{indexes[0]} names no weight files"]
        return ["no weights (model.safetensors, or pytorch_model.bin)"]
    faults = [fault for path in files for fault in weight_faults(path)]
    return faults if indexes else faults + [fault for path in files for fault in lost_parts(path)]


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
    """What the header of a safetensors file says of a tensor."""

    dtype: str
    """As safetensors writes it, e.g. `BF16` or `F8_E4M3`."""
    shape: tuple[int, ...]
    size_bytes: int


class FileHeader(NamedTuple):
    """What the header of a safetensors file says."""

    tensors: dict[str, TensorHeader]
    file_bytes: int
    """Size of the whole file."""
    begins: dict[str, int]
    """Byte of the file at which each tensor begins."""


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
                name: TensorHeader(entry["dtype"], tuple(entry["shape"]), end - begin)
                for name, entry in entries.items()
                for begin, end in [entry["data_offsets"]]
            }
            ends = [entry["data_offsets"][1] for entry in entries.values()]
            begins = {
                name: 8 + length + entry["data_offsets"][0] for name, entry in entries.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None
    return FileHeader(tensors, 8 + length + max(ends, default=0), begins)


def read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_model_config(place: str | Path) -> dict[str, Any]:
    """The config of a model folder; empty when it is not here yet."""
    folder = find_folder(place)
    return dict(read_json(folder / "config.json") or {}) if folder else {}


def local_model(model: str) -> Path:
    """The folder of a model named by path or by a reference to the hub.

    Raises UserError 66 for a reference that is neither in the cache nor to be had.
    """
    if Path(model).is_dir():
        return Path(model).resolve()
    if is_hub_offline(os.environ, default=False) and (folder := model_folder(model)):
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, revision = parse_hub_reference(model)
    try:
        return Path(snapshot_download(name, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"model {model}: not in the hub's cache and not to be fetched ({error}); "
            "fetch it on a machine with a network, or give a folder",
            NO_INPUT,
        ) from error


def link_model(source: Path, target: Path) -> None:
    """Give the files of a model a second name; a copy where links fail."""
    for file in sorted(source.iterdir()):
        if file.is_file():
            # The hub's cache holds symbolic links: the file behind gets the name.
            link_or_copy(file.resolve(), target / file.name)


def link_or_copy(file: Path, name: Path) -> None:
    """A hard link, or a copy where the file system has none (or it is another one)."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy tokenizer, chat template and generation settings as they are."""
    for name in (*TOKENIZER_FILES, *TOKENIZER_EXTRA_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def carry_config(source: Path, target: Path) -> None:
    """Give a model the config of the one it was made of, with its own type of weights.

    transformers renames LFM2's `block_ff_dim` and others while it reads them, and a trainer
    switches the cache off; vLLM wants what the original checkpoint says.
    """
    saved: dict[str, Any] = read_json(target / "config.json")
    original: dict[str, Any] = read_json(source / "config.json")
    config = {key: value for key, value in original.items() if key not in WEIGHT_KEYS}
    of_the_weights = {key: saved[key] for key in WEIGHT_KEYS if key in saved}
    write_json(target / "config.json", config | of_the_weights)
