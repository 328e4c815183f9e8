"""Read the weights of a model folder: names, shapes, types, and whether all are finite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.models.files import TensorHeader, read_header, weight_files


def tensor_files(folder: Path | str) -> list[Path]:
    """Return the safetensors files in order. Raises: UserError (BAD_DATA) if there are none."""
    files = [path for path in weight_files(Path(folder)) if path.suffix == ".safetensors"]
    if not files:
        raise UserError(f"model {folder}: it has no model*.safetensors", BAD_DATA)
    return files


def tensor_headers(folder: Path | str) -> dict[str, TensorHeader]:
    """Return type and shape of every tensor by name; only headers are read."""
    found: dict[str, TensorHeader] = {}
    for file in tensor_files(folder):
        header = read_header(file)
        if header is None:
            raise UserError(f"model {folder}: {file.name} is not a safetensors file", BAD_DATA)
        found |= header.tensors
    return found


def weight_bytes(folder: Path | str) -> int:
    """Return the size of all weight files on the disk, of any format."""
    return sum(file.stat().st_size for file in weight_files(Path(folder)))


def iter_tensors(folder: Path | str) -> Iterator[tuple[str, Any]]:
    """Yield name and torch tensor of all weights, one at a time. Imports torch."""
    from safetensors import safe_open

    for file in tensor_files(folder):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (no dict: it cannot be iterated)
                yield name, weights.get_tensor(name)


def require_finite(folder: Path | str) -> None:
    """Check all weights. Raises: UserError (BAD_DATA) with the first tensor that is not finite."""
    for name, tensor in iter_tensors(folder):
        # torch has no isfinite for FP8.
        if tensor.is_floating_point() and not tensor.float().isfinite().all():
            raise UserError(
                f"model {folder}: tensor {name} has values that are not finite", BAD_DATA
            )
