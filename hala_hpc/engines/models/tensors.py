"""The weights of a model folder: names, shapes, types, and whether all numbers are finite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.models.files import TensorHeader, read_header, weight_files


def tensor_files(folder: Path | str) -> list[Path]:
    """The safetensors files of a model folder in order. Raises UserError 65 when there are none."""
    files = [path for path in weight_files(Path(folder)) if path.suffix == ".safetensors"]
    if not files:
        raise UserError(f"model {folder}: it has no files model*.safetensors", BAD_DATA)
    return files


def tensor_headers(folder: Path | str) -> dict[str, TensorHeader]:
    """Type and shape of every tensor by name; reads headers alone."""
    found: dict[str, TensorHeader] = {}
    for file in tensor_files(folder):
        header = read_header(file)
        if header is None:
            raise UserError(f"model {folder}: {file.name} is no safetensors file", BAD_DATA)
        found |= header.tensors
    return found


def weight_bytes(folder: Path | str) -> int:
    """Size of all weight files on the disk, of whatever kind."""
    return sum(file.stat().st_size for file in weight_files(Path(folder)))


def iter_tensors(folder: Path | str) -> Iterator[tuple[str, Any]]:
    """Name and torch tensor of all weights, one at a time. Imports torch."""
    from safetensors import safe_open

    for file in tensor_files(folder):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (no dict: it cannot be iterated)
                yield name, weights.get_tensor(name)


def require_finite(folder: Path | str) -> None:
    """Raise UserError 65 that names the first tensor with a NaN or an infinity."""
    for name, tensor in iter_tensors(folder):
        # FP8 has no isfinite of its own.
        if tensor.is_floating_point() and not tensor.float().isfinite().all():
            raise UserError(
                f"model {folder}: tensor {name} has values that are not finite", BAD_DATA
            )
