"""One tensor through a method of mergekit.

mergekit's own functions make it, not its command: that reads the models for each value again, and
its filters are parts of tensor names that may hit nothing.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from hala_hpc.engines.models.merging.layer_kinds import LayerPlace
from hala_hpc.engines.models.merging.methods import MergeParameters, mergekit_parameters


def merge_with_mergekit(
    tensors: Sequence[Any], parameters: MergeParameters, name: str, place: LayerPlace
) -> Any:
    """The merged tensor in float32: of float32 tensors in their shape, that of the base first.

    What is drawn at random follows from the seed and the name of the tensor, so that neither the
    order of tensors nor other merges of the same pass change it.
    """
    import torch
    from mergekit.merge_methods.api import merge_tensors

    ids = [f"model{number}" for number in range(len(tensors) - 1)]
    kind, depth = place
    if "seed" in parameters.describe():
        torch.manual_seed(tensor_seed(parameters.seed, name))
    if parameters.method == "della":
        tensors = [rows_of(tensor) for tensor in tensors]
    if len(ids) == 1 and parameters.method == "nuslerp":
        t = parameters.t.at(kind, depth)
        return merge_tensors(
            tensors,
            "nuslerp",
            ids=["base", *ids],
            parameters={"weight": {"base": 1 - t, ids[0]: t}},
        )
    if parameters.method == "karcher":
        # It knows no base: that is one of the points of the mean, where there is one model only.
        points = tensors if len(ids) == 1 else tensors[1:]
        found = mergekit_parameters(parameters, kind, depth, ids)
        return merge_tensors(points, "karcher", parameters=found, name=name)
    return merge_tensors(
        tensors,
        parameters.method,
        ids=["base", *ids],
        base_index=0,
        parameters=mergekit_parameters(parameters, kind, depth, ids),
        name=name,
    )


def rows_of(tensor: Any) -> Any:
    """The tensor as rows of several numbers, in which della ranks the changes.

    mergekit ranks along the second axis, which is of length 1 in LFM2's convolutions: there it
    divides by 0. A row is all that belongs to the first axis, and one row of all where that is a
    single number.
    """
    rows = tensor.reshape(tensor.shape[0], -1) if tensor.dim() > 1 else tensor
    return rows if rows.shape[-1] > 1 else rows.reshape(1, -1)


def tensor_seed(seed: int, name: str) -> int:
    """A seed of 63 bits for one tensor."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
