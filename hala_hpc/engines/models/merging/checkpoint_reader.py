"""Read the tensors of a checkpoint one at a time into one buffer, each byte once.

Not through a memory map, as `safe_open` does: its pages count as memory of the job, and a network
file system reads them in small blocks.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.models.files import TensorHeader, read_header
from hala_hpc.engines.models.tensors import tensor_files

#: Types of safetensors by torch's names.
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class TensorPlace(NamedTuple):
    """Position of a tensor in its file."""

    file: Path
    begin: int
    header: TensorHeader


class CheckpointReader:
    """The tensors of a model folder. Use as a context manager.

    Raises: UserError (BAD_DATA) for a file that is no safetensors file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = dict(find_tensors(folder))
        self.bytes_read = 0
        self._files: dict[Path, IO[bytes]] = {}
        self._buffer: Any = None

    def read(self, name: str) -> Any:
        """Return a tensor as stored: a flat torch tensor of its type, or of uint8 for other types.

        It is in a buffer that the next call overwrites.

        Raises: UserError (BAD_DATA) for a file that ends before the tensor does.
        """
        import torch

        place = self.places[name]
        size = place.header.size_bytes
        if self._buffer is None:
            largest = max(place.header.size_bytes for place in self.places.values())
            self._buffer = torch.empty(largest, dtype=torch.uint8)
        part = self._buffer[:size]
        if size and self._fill(place, memoryview(part.numpy())) != size:
            raise UserError(f"model {self.folder}: {place.file.name} is cut short", BAD_DATA)
        self.bytes_read += size
        dtype = DTYPES.get(place.header.dtype)
        return part.view(getattr(torch, dtype)) if dtype else part

    def _fill(self, place: TensorPlace, view: memoryview) -> int:
        if place.file not in self._files:
            self._files[place.file] = place.file.open("rb", buffering=0)
        file = self._files[place.file]
        file.seek(place.begin)
        done = 0
        # One call reads up to 2 GiB.
        while done < len(view) and (count := file.readinto(view[done:])):  # type: ignore[attr-defined]
            done += count
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()
        self._buffer = None


def find_tensors(folder: Path) -> Iterator[tuple[str, TensorPlace]]:
    """Return every tensor of a model folder, in the order of the files."""
    for file in tensor_files(folder):
        header = read_header(file)
        if header is None:
            raise UserError(f"model {folder}: {file.name} is no safetensors file", BAD_DATA)
        for name in sorted(header.tensors, key=header.begins.__getitem__):
            yield name, TensorPlace(file, header.begins[name], header.tensors[name])


def find_main_dtype(folder: Path) -> str:
    """Return the most frequent type of a model's tensors, by torch's name.

    Raises: UserError (BAD_DATA) for one that cannot be merged, such as that of a compressed model.
    """
    types = [place.header.dtype for _, place in find_tensors(folder)]
    main_dtype = max(sorted(set(types)), key=types.count)
    if main_dtype not in DTYPES:
        raise UserError(
            f"model {folder}: its weights are {main_dtype}; a merge takes {', '.join(DTYPES)} "
            "(give the model before it was compressed)",
            BAD_DATA,
        )
    return DTYPES[main_dtype]
