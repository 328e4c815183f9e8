"""One pass over the tensors of base and tuned models that makes any number of merged models.

Every parent is read once, whatever the number of models: the merged tensors are computed while
those of the parents are in memory. Memory has the largest tensor of each parent and parts of 1 MiB;
methods of mergekit need the tensor in float32 several times.
"""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import read_json
from hala_hpc.engines.models.files import TensorHeader
from hala_hpc.engines.models.merging.arithmetic import (
    is_interpolated_linearly,
    prepare_merge,
)
from hala_hpc.engines.models.merging.checkpoint_reader import DTYPES, CheckpointReader
from hala_hpc.engines.models.merging.checkpoint_writer import CheckpointWriter
from hala_hpc.engines.models.merging.chunk_workers import ChunkWorkers
from hala_hpc.engines.models.merging.layer_kinds import KINDS, REST, LayerMap, LayerPlace
from hala_hpc.engines.models.merging.merge_record import KindChange
from hala_hpc.engines.models.merging.mergekit_tensors import merge_with_mergekit
from hala_hpc.engines.models.merging.methods import MergeParameters
from hala_hpc.engines.models.merging.moments import (
    Moments,
    empty_moments,
    measure_moments,
)

logger = logging.getLogger(__name__)

#: Bytes of a number by the type's name in torch, and that name's counterpart in safetensors.
NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
STORED_NAMES = {torch_name: name for name, torch_name in DTYPES.items()}


class Parents(NamedTuple):
    """The folders of the parents of a merge."""

    base: Path
    models: tuple[Path, ...]


class MergeTarget(NamedTuple):
    """A model that a pass makes."""

    folder: Path
    parameters: MergeParameters
    dtype: str
    """Of its weights, by torch's name."""


@dataclass
class KindSums:
    """Sums over the tensors of one kind."""

    moments: Moments
    tensors: int = 0
    linear_weights: int = 0
    """Weights that slerp interpolates linearly."""


@dataclass
class PassFigures:
    """Counts and measurements of a pass."""

    models: int
    kinds: dict[str, KindSums] = field(default_factory=dict)
    bytes_read: int = 0

    def add(self, kind: str, moments: Moments) -> None:
        """Count a tensor."""
        sums = self.kinds.setdefault(kind, KindSums(empty_moments(self.models)))
        sums.moments += moments
        sums.tensors += 1
        if self.models == 1 and is_interpolated_linearly(moments):
            sums.linear_weights += moments.weights

    def changes(self, method: str) -> tuple[KindChange, ...]:
        """Return a record for each kind, and one for all."""
        order = [kind for kind in (*KINDS, REST) if kind in self.kinds]
        found = [describe_change(kind, [self.kinds[kind]], method) for kind in order]
        return (*found, describe_change("all", list(self.kinds.values()), method))


def describe_change(kind: str, sums: Sequence[KindSums], method: str) -> KindChange:
    """Return the record of one or several kinds together."""
    models = len(sums[0].moments.squares)
    moments = empty_moments(models)
    for one in sums:
        moments += one.moments
    linear = sum(one.linear_weights for one in sums) / max(1, moments.weights)
    return KindChange(
        kind=kind,
        tensors=sum(one.tensors for one in sums),
        weights=moments.weights,
        angle_degrees=tuple(round(moments.angle_degrees(n), 4) for n in range(models)),
        relative_change=tuple(float(f"{moments.relative_change(n):.4g}") for n in range(models)),
        linear_share=round(linear, 4) if method == "slerp" else None,
    )


def merge_models(
    parents: Parents, targets: Sequence[MergeTarget], heartbeat: Callable[[], None]
) -> PassFigures:
    """Write the weights of all targets; `heartbeat` is called after every tensor.

    Raises: UserError (BAD_DATA) for a number that is not finite, and for a tuned model equal to the
    base; the written files are then removed.
    """
    with ExitStack() as stack:
        readers = [
            stack.enter_context(CheckpointReader(folder))
            for folder in (parents.base, *parents.models)
        ]
        merging = MergePass(readers, targets, stack.enter_context(ChunkWorkers()))
        try:
            merging.run(heartbeat)
        except BaseException:
            for writer in merging.writers:
                writer.discard()
            raise
        return merging.figures


class MergePass:
    """The state of a pass: readers, the base first, and a writer for each target."""

    def __init__(
        self,
        readers: Sequence[CheckpointReader],
        targets: Sequence[MergeTarget],
        workers: ChunkWorkers,
    ) -> None:
        self.readers, self.targets, self.workers = readers, targets, workers
        shared = set.intersection(*(set(reader.places) for reader in readers))
        # An output layer that is tied to the embedding is in some checkpoints and not in others.
        self.names = [name for name in readers[0].places if name in shared]
        config: dict[str, Any] = read_json(readers[0].folder / "config.json") or {}
        self.layers = LayerMap(config, self.names)
        self.figures = PassFigures(len(readers) - 1)
        self.writers = [
            CheckpointWriter(target.folder, self.output_headers(target.dtype)) for target in targets
        ]

    def output_headers(self, dtype: str) -> dict[str, TensorHeader]:
        """Return type and shape of every tensor of a merged model."""
        found = {}
        for name in self.names:
            header = self.readers[0].places[name].header
            if header.dtype in DTYPES:
                size = NUMBER_BYTES[dtype] * math.prod(header.shape)
                header = TensorHeader(STORED_NAMES[dtype], header.shape, size)
            found[name] = header
        return found

    def run(self, heartbeat: Callable[[], None]) -> None:
        """Read, measure and write tensor after tensor."""
        for name in self.names:
            self.make_tensor(name)
            heartbeat()
        self.figures.bytes_read = sum(reader.bytes_read for reader in self.readers)
        self.refuse_alike()
        for writer in self.writers:
            writer.close()

    def make_tensor(self, name: str) -> None:
        """Read a tensor of every parent and write it to all targets; then it leaves the memory."""
        tensors = [reader.read(name) for reader in self.readers]
        if self.readers[0].places[name].header.dtype in DTYPES:
            self.merge_tensor(name, tensors)
        else:
            self.copy_tensor(name, tensors)

    def copy_tensor(self, name: str, tensors: Sequence[Any]) -> None:
        """Write a tensor of integers, which must be the same in all models."""
        if not all(tensor.equal(tensors[0]) for tensor in tensors[1:]):
            dtype = self.readers[0].places[name].header.dtype
            raise UserError(
                f"tensor {name} is of the type {dtype} and differs between the models: such "
                f"numbers cannot be merged, only {', '.join(DTYPES)}",
                BAD_DATA,
            )
        for writer in self.writers:
            writer.write(tensors[0])

    def merge_tensor(self, name: str, tensors: Sequence[Any]) -> None:
        """Write a tensor of every target."""
        moments = measure_moments(tensors, self.workers)
        self.require_finite_inputs(name, tensors, moments)
        place = self.layers.place(name)
        self.figures.add(place.kind, moments)
        self.write_parts(name, tensors, place, moments)
        for target, writer in zip(self.targets, self.writers, strict=True):
            if not target.parameters.is_own:
                writer.write(self.ask_mergekit(name, tensors, target, place))

    def write_parts(
        self, name: str, tensors: Sequence[Any], place: LayerPlace, moments: Moments
    ) -> None:
        """Write a tensor of the targets of our own arithmetic, part by part."""
        import torch

        own = [
            (
                prepare_merge(target.parameters, place, tensors, moments),
                getattr(torch, target.dtype),
                writer,
            )
            for target, writer in zip(self.targets, self.writers, strict=True)
            if target.parameters.is_own
        ]
        if not own:
            return

        def merge_part(parts: list[Any]) -> list[Any]:
            return [merge(parts).to(dtype) for merge, dtype, _ in own]

        for results in self.workers.map(merge_part, tensors):
            for result, (_, dtype, writer) in zip(results, own, strict=True):
                # The others have the range of the inputs, which are finite.
                if dtype == torch.float16:
                    require_finite_result(name, result)
                writer.write(result)

    def ask_mergekit(
        self, name: str, tensors: Sequence[Any], target: MergeTarget, place: LayerPlace
    ) -> Any:
        """Return the tensor of a target by mergekit, flat and in its type."""
        import torch

        shape = self.readers[0].places[name].header.shape
        inputs = [tensor.float().reshape(shape) for tensor in tensors]
        merged = merge_with_mergekit(inputs, target.parameters, name, place)
        result = merged.to(getattr(torch, target.dtype)).reshape(-1)
        require_finite_result(name, result)
        return result

    def require_finite_inputs(self, name: str, tensors: Sequence[Any], moments: Moments) -> None:
        """Raise UserError with the model whose tensor has a NaN or an infinity."""
        if math.isfinite(moments.base_square + sum(moments.squares) + sum(moments.changes)):
            return
        for reader, tensor in zip(self.readers, tensors, strict=True):
            if not tensor.isfinite().all():
                raise UserError(
                    f"model {reader.folder}: tensor {name} has values that are not finite; "
                    "train it again from the last good checkpoint, or take another model",
                    BAD_DATA,
                )
        raise UserError(f"tensor {name} has values too large to be merged in float32", BAD_DATA)

    def refuse_alike(self) -> None:
        """Raise UserError for a tuned model with the weights of the base."""
        for number, reader in enumerate(self.readers[1:]):
            if not any(sums.moments.changes[number] for sums in self.figures.kinds.values()):
                raise UserError(
                    f"model {reader.folder} has the same weights as base "
                    f"{self.readers[0].folder}: a merge needs two models; give the tuned one",
                    BAD_DATA,
                )


def require_finite_result(name: str, result: Any) -> None:
    """Raise UserError (BAD_DATA) if merged numbers are not finite, before they are written."""
    if not result.isfinite().all():
        raise UserError(
            f"tensor {name} of the merged model has values that are not finite in "
            f"{str(result.dtype).removeprefix('torch.')}; set dtype=float32 or bfloat16, or other "
            "parameters of the method",
            BAD_DATA,
        )
