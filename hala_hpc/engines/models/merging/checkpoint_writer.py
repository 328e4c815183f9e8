"""Write a checkpoint as safetensors files while its tensors are made.

The functions of safetensors need all tensors of a file in memory. Types and shapes are known before
the numbers, so the header is written first and the numbers follow.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from hala_hpc.core.files import write_json
from hala_hpc.engines.models.files import TensorHeader

#: Maximum bytes of a file, unless one tensor is larger; that of transformers 5.
SHARD_BYTES = 50_000_000_000
INDEX_FILE = "model.safetensors.index.json"
#: A header is padded with spaces, so that the tensors begin at a multiple of this.
ALIGNMENT = 8


class CheckpointWriter:
    """Writes the weights of one model in the order of `headers`.

    `write` takes the numbers of the next tensor, whole or in parts; `close` writes the index if
    there are several files, `discard` removes all files.
    """

    def __init__(
        self, folder: Path, headers: Mapping[str, TensorHeader], shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.folder, self.headers = folder, headers
        self.shards = list(split_shards(headers, shard_bytes))
        self.left = sum(header.size_bytes for header in headers.values())
        self._paths: list[Path] = []
        self._file: IO[bytes] | None = None
        self._left_in_shard = 0

    def write(self, numbers: Any) -> None:
        """Append numbers: a flat torch tensor of the type of the tensor that they belong to."""
        import torch

        view = memoryview(numbers.contiguous().view(torch.uint8).numpy())
        if len(view) == 0:
            return
        if not self._left_in_shard:
            self._begin_shard()
        assert self._file is not None
        self._file.write(view)
        self._left_in_shard -= len(view)
        self.left -= len(view)

    def _begin_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        number, total = len(self._paths), len(self.shards)
        path = self.folder / shard_name(number, total)
        self._paths.append(path)
        self._file = path.open("wb", buffering=0)
        names = self.shards[number]
        self._file.write(encode_header({name: self.headers[name] for name in names}))
        self._left_in_shard = sum(self.headers[name].size_bytes for name in names)

    def close(self) -> None:
        """Close the last file; write the index if there are several."""
        if self._file is not None:
            self._file.close()
        if self.left:
            raise ValueError(f"{self.folder}: {self.left} bytes of the weights were not written")
        if len(self.shards) > 1:
            weight_map = {
                name: shard_name(number, len(self.shards))
                for number, names in enumerate(self.shards)
                for name in names
            }
            total = sum(header.size_bytes for header in self.headers.values())
            index = {"metadata": {"total_size": total}, "weight_map": weight_map}
            write_json(self.folder / INDEX_FILE, index)

    def discard(self) -> None:
        """Remove all files."""
        if self._file is not None:
            self._file.close()
        for path in self._paths:
            path.unlink(missing_ok=True)


def split_shards(headers: Mapping[str, TensorHeader], shard_bytes: int) -> Iterator[list[str]]:
    """Return the names of the tensors of each file, in order."""
    names: list[str] = []
    size = 0
    for name, header in headers.items():
        if names and size + header.size_bytes > shard_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += header.size_bytes
    if names:
        yield names


def shard_name(number: int, total: int) -> str:
    """`model.safetensors`, or `model-00001-of-00004.safetensors` for the first of four."""
    if total == 1:
        return "model.safetensors"
    return f"model-{number + 1:05d}-of-{total:05d}.safetensors"


def encode_header(headers: Mapping[str, TensorHeader]) -> bytes:
    """Return the head of a safetensors file: 8 bytes of length (little endian), and JSON."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, header in headers.items():
        end = begin + header.size_bytes
        entries[name] = {
            "dtype": header.dtype,
            "shape": list(header.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
