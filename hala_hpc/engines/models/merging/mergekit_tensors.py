"""One tensor through a method of mergekit.

mergekit's own functions compute it. Its command is not used: it reads the models again for each
value, and its filters are parts of tensor names that may match nothing.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from hala_hpc.engines.models.merging.layer_kinds import LayerPlace
from hala_hpc.engines.models.merging.methods import MergeParameters, mergekit_parameters


def merge_with_mergekit(
    tensors: Sequence[Any], parameters: MergeParameters, name: str, place: LayerPlace
) -> Any:
    """Return the merged tensor in float32, from float32 tensors in their shape, base first.

    Random numbers depend on the seed and the name of the tensor only: neither the order of tensors
    nor other merges of the same pass change them.
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
        # It has no base: with one model only, the base is the second point of the mean.
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
    """Return the tensor as rows of several numbers, in which della ranks the changes.

    mergekit ranks along the second axis, which has length 1 in LFM2's convolutions: there it
    divides by 0. A row has all numbers of an index of the first axis; if that is a single number,
    all numbers are one row.
    """
    rows = tensor.reshape(tensor.shape[0], -1) if tensor.dim() > 1 else tensor
    return rows if rows.shape[-1] > 1 else rows.reshape(1, -1)


def tensor_seed(seed: int, name: str) -> int:
    """Return a seed of 63 bits for one tensor."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
