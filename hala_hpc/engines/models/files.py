"""The files of a model folder: check that it is complete, and copy files to a derived model.

No weights are loaded: names, sizes, JSON files and the headers of safetensors files are read.
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
from hala_hpc.core.lfs_pointer import LFS_FIX, is_lfs_pointer

#: Files of which transformers needs one to load a tokenizer.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
#: Weight files, in the order in which transformers and vLLM look: an index that names the files,
#: and the pattern of files without an index. adapter_model.safetensors and training_args.bin are
#: not weights of a whole model.
WEIGHT_PATTERNS = (
    ("model.safetensors.index.json", "model*.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model*.bin"),
    ("", "consolidated*.safetensors"),
)
#: Files of a tokenizer besides its vocabulary, and the generation config.
TOKENIZER_EXTRA_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
#: Keys of a config that describe the stored weights, not the architecture.
WEIGHT_KEYS = ("torch_dtype", "dtype", "quantization_config", "transformers_version")


def require_model(model: str, setting: str = "model", tokenizer: bool = True) -> None:
    """Check that `model` is a complete local model, a hub id or an `@node`.

    `setting` is the name in the message. Only names, sizes and headers are read.

    Raises: UserError (NO_INPUT) if it is none of these.
    """
    if not model.startswith("@") and not is_hub_id(model):
        missing = missing_parts(Path(model).expanduser(), tokenizer)
        if missing:
            raise UserError(f"{setting}={model}: {'; '.join(missing)}", NO_INPUT)


def require_safetensors(place: str | Path, setting: str) -> None:
    """Check that the tensors of a model on the disk can be read one by one.

    `place` is the path from the inputs of the stage; a folder that does not exist yet is not
    checked. `setting` is the setting with its value, e.g. `model=owner/name`. For stages that read
    tensors themselves; call `require_model` before.

    Raises: UserError (NO_INPUT) if they cannot.
    """
    folder = find_folder(place)
    if folder is None:
        return
    # Mistral's consolidated files name their tensors differently.
    wrong = [
        path.name
        for path in weight_files(folder)
        if path.suffix != ".safetensors" or path.name.startswith("consolidated")
    ]
    if wrong:
        raise UserError(
            f"{setting}: its weights are in {wrong[0]}, but this stage reads model.safetensors; "
            "load the model with transformers and save it again, which writes such a file",
            NO_INPUT,
        )


def find_folder(place: str | Path) -> Path | None:
    """Return the folder at a path from the inputs of a stage; None if it does not exist yet."""
    folder = Path(place).expanduser()
    return folder if folder.is_dir() else None


def missing_parts(folder: Path, tokenizer: bool = True, weights: bool = True) -> list[str]:
    """Return a line for each missing part of a model folder; empty if it is complete.

    If `tokenizer` or `weights` is false, that part may be missing.
    """
    if not folder.exists():
        return ["there is no such folder; give a model folder or a hub id such as owner/name"]
    if not folder.is_dir():
        return ["this is a file; give the folder that holds config.json and the weights"]
    texts = [folder / name for name in ("config.json", *TOKENIZER_FILES)]
    missing = describe_pointers([path for path in texts if is_lfs_pointer(path)])
    if not is_lfs_pointer(texts[0]) and read_object(texts[0]) is None:
        missing.append("no readable config.json")
    if tokenizer and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        missing.append("no tokenizer (tokenizer.json or tokenizer.model)")
    return missing + (missing_weights(folder) if weights else [])


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files that would be loaded, in order, even if some are missing."""
    for index, pattern in WEIGHT_PATTERNS:
        if index and (folder / index).is_file():
            return [folder / name for name in indexed_files(folder / index)]
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def indexed_files(index: Path) -> list[str]:
    """Return the weight files named by an index."""
    return sorted(set((read_object(index) or {}).get("weight_map", {}).values()))


def missing_weights(folder: Path) -> list[str]:
    """Return a line for each fault of the weight files of a folder."""
    files = weight_files(folder)
    indexes = [name for name, _ in WEIGHT_PATTERNS if name and (folder / name).is_file()]
    if not files:
        if indexes:
            return [f"{indexes[0]} names no weight files"]
        return ["no weights (model.safetensors, or pytorch_model.bin)"]
    if pointers := [path for path in files if is_lfs_pointer(path)]:
        return describe_pointers(pointers)
    faults = [fault for path in files for fault in weight_faults(path)]
    return faults if indexes else faults + [fault for path in files for fault in lost_parts(path)]


def describe_pointers(pointers: list[Path]) -> list[str]:
    """Return a line for files that are pointers of Git LFS; none if there are no such files."""
    if not pointers:
        return []
    more = f" (and {len(pointers) - 1} more)" if len(pointers) > 1 else ""
    return [
        f"{pointers[0].name}{more} is a pointer of Git LFS, the file itself was not fetched; "
        f"{LFS_FIX}"
    ]


def weight_faults(path: Path) -> list[str]:
    """Return a line if a weight file is absent, empty or cut short."""
    if not path.is_file():
        return [f"{path.name} is missing"]
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return [] if size else [f"{path.name} is empty"]
    header = read_header(path)
    if header is None:
        return [f"{path.name} is not a safetensors file"]
    if size < header.file_bytes:
        return [f"{path.name} is cut short: {size} bytes of {header.file_bytes}"]
    return []


def lost_parts(path: Path) -> list[str]:
    """Return a line if a file is a shard such as `model-00001-of-00004` without its index."""
    if re.search(r"-\d+-of-\d+$", path.stem):
        return [f"{path.name} is a shard, but its index file is missing"]
    return []


class TensorHeader(NamedTuple):
    """Entry of a tensor in the header of a safetensors file."""

    dtype: str
    """As safetensors writes it, e.g. `BF16` or `F8_E4M3`."""
    shape: tuple[int, ...]
    size_bytes: int


class FileHeader(NamedTuple):
    """Header of a safetensors file."""

    tensors: dict[str, TensorHeader]
    file_bytes: int
    """Size of the whole file."""
    begins: dict[str, int]
    """Byte of the file at which each tensor begins."""


def read_header(path: Path) -> FileHeader | None:
    """Read the header of a safetensors file; None if it is invalid.

    The format: 8 bytes of length (little endian), a JSON header, then the tensors.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # The limit of the format; a longer header is invalid.
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
    """Read a JSON object; None if it is absent or unreadable."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_model_config(place: str | Path) -> dict[str, Any]:
    """Read the config of a model folder; empty if the folder does not exist yet."""
    folder = find_folder(place)
    return dict(read_json(folder / "config.json") or {}) if folder else {}


def local_model(model: str) -> Path:
    """Return the folder of a model named by path or by a reference to the hub.

    Raises: UserError (NO_INPUT) if it is not in the hub cache and cannot be fetched.
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
            f"model {model}: it is not in the hub cache and cannot be fetched ({error}); "
            "fetch it on a machine with a network, or give a folder",
            NO_INPUT,
        ) from error


def link_model(source: Path, target: Path) -> None:
    """Hard-link the files of a model into another folder; copy them if links fail."""
    for file in sorted(source.iterdir()):
        if file.is_file():
            # The hub cache holds symbolic links: the target file is linked.
            link_or_copy(file.resolve(), target / file.name)


def link_or_copy(file: Path, name: Path) -> None:
    """Make a hard link, or a copy if the file system has no links or is another one."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy tokenizer, chat template and generation config unchanged."""
    for name in (*TOKENIZER_FILES, *TOKENIZER_EXTRA_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def carry_config(source: Path, target: Path) -> None:
    """Give a derived model the config of its source, with its own type of weights.

    transformers renames LFM2's `block_ff_dim` and other keys while it reads them, and a trainer
    turns the cache off; vLLM needs the values of the original checkpoint.
    """
    saved: dict[str, Any] = read_json(target / "config.json")
    original: dict[str, Any] = read_json(source / "config.json")
    config = {key: value for key, value in original.items() if key not in WEIGHT_KEYS}
    of_the_weights = {key: saved[key] for key in WEIGHT_KEYS if key in saved}
    write_json(target / "config.json", config | of_the_weights)
