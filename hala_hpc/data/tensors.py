"""The weights of a model folder: names, shapes, types, and whether all numbers are finite."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError

#: Type of a tensor as safetensors writes it, e.g. `BF16` or `F8_E4M3`, and its shape.
Header = tuple[str, tuple[int, ...]]


def weight_files(folder: Path | str) -> list[Path]:
    """The safetensors files of a model folder in order. Raises UserError 65 when there are none."""
    files = sorted(Path(folder).glob("model*.safetensors"))
    if not files:
        raise UserError(f"model {folder}: it has no files model*.safetensors", BAD_DATA)
    return files


def tensor_headers(folder: Path | str) -> dict[str, Header]:
    """Type and shape of every tensor by name; reads headers alone."""
    return {
        name: (entry["dtype"], tuple(entry["shape"]))
        for file in weight_files(folder)
        for name, entry in header_of(file).items()
    }


def header_of(file: Path) -> dict[str, Any]:
    """The tensors that one safetensors file describes.

    The format: 8 bytes of length (little endian), a JSON header, then the tensors.
    """
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: dict[str, Any] = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return header


def weight_bytes(folder: Path | str) -> int:
    """Size of all weight files on the disk."""
    return sum(file.stat().st_size for file in weight_files(folder))


def tensors(folder: Path | str) -> Iterator[tuple[str, Any]]:
    """Name and torch tensor of all weights, one at a time. Imports torch."""
    from safetensors import safe_open

    for file in weight_files(folder):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (no dict: it cannot be iterated)
                yield name, weights.get_tensor(name)


def require_finite(folder: Path | str) -> None:
    """Raise UserError 65 that names the first tensor with a NaN or an infinity."""
    for name, tensor in tensors(folder):
        # FP8 has no isfinite of its own.
        if tensor.is_floating_point() and not tensor.float().isfinite().all():
            raise UserError(
                f"model {folder}: tensor {name} has values that are not finite", BAD_DATA
            )
