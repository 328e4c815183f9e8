"""merge: put a tuned model part of the way back to its base (mergekit slerp)."""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import ModelRef, StageSettings
from hala_hpc.core.stage import Facts, Out, Stage
from hala_hpc.data.carry_over import (
    carry_config,
    copy_tokenizer,
    local_model,
    require_same_words,
)
from hala_hpc.data.model_files import require_model
from hala_hpc.data.tensors import Header, require_finite, tensor_headers, weight_bytes

#: Types of safetensors by the words of torch.
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class Settings(StageSettings):
    """Settings of merge."""

    base: ModelRef
    """The model before it was tuned: hub id, folder or `@node`."""
    model: ModelRef
    """The tuned model. Tokenizer and chat template are taken from it."""
    t: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How far from the base (0) to the tuned model (1). The paper's value."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the merged weights; auto: that of the base. The sums are made in float32."""
    resources: Resources = Resources(cpus_per_rank=4, mem_gb=32)
    """What the job gets; no GPU is needed."""


class Merge(Stage[Settings]):
    """One unit: the merged model."""

    name = "merge"
    produces = "model"
    Settings = Settings

    def preflight(self) -> list[str]:
        """Find a merge of a model with itself, and models without weights."""
        require_model(self.settings.base, "base")
        require_model(self.settings.model, "model")
        if same_model(self.settings.base, self.settings.model):
            return [
                f"base and model are both {self.settings.base}: a merge needs two models; "
                "give the tuned one as model"
            ]
        return []

    def run(self, units: Iterable[int], out: Out) -> None:
        """Merge on the CPU, tensor by tensor."""
        base, model = self._folders()
        require_same_shapes(base, model)
        require_same_words(base, model)
        for unit in units:
            folder = out.folder(unit)
            self._slerp(base, model, folder)
            copy_tokenizer(model, folder)
            carry_config(model, folder)
            out.commit(unit)

    def _folders(self) -> tuple[Path, Path]:
        base = local_model(self.inputs.path(self.settings.base))
        model = local_model(self.inputs.path(self.settings.model))
        require_model(str(base), "base", tokenizer=False)
        require_model(str(model), "model")
        # mergekit takes one of the two for granted and fails much later.
        if base.resolve() == model.resolve():
            raise UserError(f"base and model are both {base}: a merge needs two models")
        return base, model

    def _slerp(self, base: Path, model: Path, folder: Path) -> None:
        from mergekit.config import MergeConfiguration
        from mergekit.merge import MergeOptions, run_merge

        dtype = self.settings.dtype
        recipe = {
            "merge_method": "slerp",
            # Absolute: a relative name is taken for a hub id and looked up.
            "base_model": str(base.resolve()),
            "models": [{"model": str(base.resolve())}, {"model": str(model.resolve())}],
            "parameters": {"t": self.settings.t},
            "dtype": "float32",
            "out_dtype": dtype_of(base) if dtype == "auto" else dtype,
        }
        # The model card asks the hub about the models, so none is written; the tokenizer is
        # copied from the tuned model, mergekit would take that of the base.
        options = MergeOptions(
            write_model_card=False, copy_tokenizer=False, lazy_unpickle=True, quiet=True
        )
        run_merge(MergeConfiguration.model_validate(recipe), str(folder), options)

    def check(self, unit: int, folder: Path) -> Facts:
        """All tensors of the base are there, in its shapes, and finite."""
        base, _ = self._folders()
        require_model(str(folder), f"unit {unit}")
        require_same_shapes(base, folder)
        require_finite(folder)
        headers = tensor_headers(folder)
        weights = sum(math.prod(shape) for _, shape in headers.values())
        details = {
            "t": self.settings.t,
            "tensors": len(headers),
            "weights": weights,
            "bytes": weight_bytes(folder),
            "dtype": dtype_of(folder),
        }
        return Facts(details=details)


def same_model(one: str, other: str) -> bool:
    """Whether two references name the same model."""
    if one.startswith("@") or other.startswith("@"):
        return one == other
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def require_same_shapes(base: Path, other: Path) -> None:
    """Raise UserError 65 that names the first tensor that one model lacks or has in another shape.

    An output layer that is tied to the embedding may be written or not.
    """
    first, second = tensor_headers(base), tensor_headers(other)
    for name in sorted(first.keys() | second.keys()):
        one, two = shape_of(first, name), shape_of(second, name)
        if one != two and not (name == "lm_head.weight" and "absent" in (one, two)):
            raise UserError(
                f"the models do not fit: tensor {name} is {one} in {base}, but {two} in {other}; "
                "merge a tuned model with the base it came from",
                BAD_DATA,
            )


def shape_of(headers: dict[str, Header], name: str) -> str:
    """Shape of a tensor in words, e.g. `[64, 128]` or `absent`."""
    return str(list(headers[name][1])) if name in headers else "absent"


def dtype_of(folder: Path) -> str:
    """The type that most tensors of a model have, as torch calls it."""
    types = [dtype for dtype, _ in tensor_headers(folder).values()]
    most = max(set(types), key=types.count)
    if most not in DTYPES:
        raise UserError(
            f"model {folder}: its weights are {most}; a merge takes {', '.join(DTYPES)} "
            "(give the model before it was compressed)",
            BAD_DATA,
        )
    return DTYPES[most]


STAGE = Merge
